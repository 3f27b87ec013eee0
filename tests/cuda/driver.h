// What the driver gives to cuBLAS beside CUDA's own functions.
#pragma once

#include <functional>

// Puts work at the end of a stream's queue.
void enqueue(void *stream, std::function<void()> work);
