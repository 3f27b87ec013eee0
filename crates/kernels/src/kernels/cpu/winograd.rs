//! Convolution by 3×3 windows of stride 1 through Winograd's minimal filtering F(m×m, 3×3) (Lavin and Gray, arXiv
//! 1509.09308): Y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A for each tile d of (m+2)×(m+2) inputs, so that m² outputs cost (m+2)²
//! multiplications instead of 9·m². The elementwise products, summed over channels, are a matrix product for each of the
//! (m+2)² positions. The gradient to the weights is the same algorithm backwards: dg = Gᵀ[Σ (A·dY·Aᵀ) ⊙ (Bᵀ·d·B)]G.
//!
//! Sixteen channels lie side by side while tiles are transformed. Work goes in chunks of images that stay in the cache.

use super::{
    conv::Epilogue,
    par::{self, Shared, Stretches},
    product::{Beta, Mat, on_thread, small},
    tile::{LANES, Lanes, Tile},
    window::Geometry,
};
use std::ops::Range;

/// Bytes of transformed inputs and outputs that a chunk may take, if the weights do not ask for more.
const CHUNK_BYTES: usize = 8 << 20;
/// Fewer channels than this do not fill the lanes.
const FEWEST_CHANNELS: usize = 16;

/// Below so many multiplications the transforms cost more than they save.
const FEWEST_PRODUCTS: usize = 1 << 24;

/// Whether the algorithm is made for such a convolution.
pub(super) fn takes(g: &Geometry) -> bool {
    (g.kh, g.kw, g.sh, g.sw, g.dh, g.dw, g.groups) == (3, 3, 1, 1, 1, 1, 1)
        && g.ph <= 2
        && g.pw <= 2
        && g.n * g.positions() > 0
}

/// Whether it is quicker this way.
pub(super) fn suits(g: &Geometry) -> bool {
    let products = g.n * g.positions() * g.c * g.m * 9;
    takes(g) && g.c.min(g.m) >= FEWEST_CHANNELS && products >= FEWEST_PRODUCTS
}

/// Tiles of an image, and how much of them there is at once.
#[derive(Clone, Copy)]
struct Plan {
    tile: Tile,
    /// Tiles down and across.
    down: usize,
    across: usize,
    /// Images in a chunk.
    images: usize,
}

impl Plan {
    fn of(g: &Geometry) -> Self {
        let tile = if g.oh <= 2 && g.ow <= 2 { Tile::Two } else { Tile::Four };
        let (down, across) = (g.oh.div_ceil(tile.out()), g.ow.div_ceil(tile.out()));
        let fits = CHUNK_BYTES / (4 * tile.positions() * (padded(g.c) + padded(g.m)));
        let pays = g.c * g.m / (g.c + g.m);
        let images = fits.max(pays).div_ceil(down * across).clamp(1, g.n);
        Self { tile, down, across, images }
    }

    fn tiles(&self, images: usize) -> usize {
        images * self.down * self.across
    }

    fn chunks(&self, g: &Geometry) -> Vec<Range<usize>> {
        (0..g.n).step_by(self.images).map(|n| n..(n + self.images).min(g.n)).collect()
    }
}

fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// A tensor of images as tiles are cut from it.
#[derive(Clone, Copy)]
struct Planes<'a> {
    x: &'a [f32],
    channels: usize,
    h: usize,
    w: usize,
    /// Zeros above and on the left.
    before: [usize; 2],
    /// Elements along a side of a tile.
    side: usize,
}

/// How the elements of a tile are transformed, for a tile of a buffer of rows of `Lanes`.
type Transform = fn(Tile, &[Lanes], usize, &mut Stretches);

impl Planes<'_> {
    /// Writes the transformed tiles of some images: for each position of a tile a matrix (tiles × padded channels).
    fn transform(&self, plan: &Plan, images: Range<usize>, to: &mut [f32], transform: Transform) {
        let (width, tiles, step) = (padded(self.channels), plan.tiles(images.len()), plan.tile.out());
        let blocks = width / LANES;
        let (rows, row) = ((plan.down - 1) * step + self.side, (plan.across - 1) * step + self.side);
        let to = Shared::new(to);
        par::tasks(images.len() * blocks, |task| {
            let (image, block) = (task / blocks, task % blocks);
            par::lanes(rows * row, |buffer| {
                self.side_by_side(images.start + image, block * LANES, buffer, row);
                for tile in 0..plan.down * plan.across {
                    let (y, x) = (tile / plan.across * step, tile % plan.across * step);
                    let at = (image * plan.down * plan.across + tile) * width + block * LANES;
                    // SAFETY: of the rows of its tiles a task writes the lanes of its block alone.
                    let mut to = unsafe { to.stretches(at, tiles * width) };
                    transform(plan.tile, &buffer[y * row + x..], row, &mut to);
                }
            });
        });
    }

    /// Sixteen channels of an image side by side, in rows of `row`; zeros around the image and beyond its channels.
    fn side_by_side(&self, image: usize, first: usize, to: &mut [Lanes], row: usize) {
        to.fill(Lanes::ZERO);
        let [above, left] = self.before;
        let rows = self.h.min((to.len() / row).saturating_sub(above));
        let columns = self.w.min(row.saturating_sub(left));
        let channels = LANES.min(self.channels - first);
        let start = (image * self.channels + first) * self.h * self.w;
        for y in 0..rows {
            let from = &self.x[start + y * self.w..];
            super::tile::gather(from, self.h * self.w, channels, &mut to[(y + above) * row + left..][..columns]);
        }
    }
}

/// Transformed weights: for each position a matrix (m × c).
fn kernels(tile: Tile, w: &[f32], m: usize, c: usize, flipped: bool) -> Vec<f32> {
    let mut u = par::zeros(tile.positions() * m * c);
    let shared = Shared::new(&mut u);
    par::tasks(m, |i| {
        for first in (0..c).step_by(LANES) {
            let (n, at) = (LANES.min(c - first), i * c + first);
            let taken = super::tile::taps(&w[at * 9..], n, flipped);
            // SAFETY: a task writes row i of every matrix.
            let mut to = unsafe { shared.stretches(at, m * c) };
            tile.kernel(&taken, n, &mut to);
        }
    });
    u
}

/// x ∗ w with what `epilogue` adds; `flipped`: with the weights (c, m, reversed taps), as the gradient to the input takes them.
/// `g` is the geometry of this product.
pub(super) fn forward(g: &Geometry, x: &[f32], w: &[f32], flipped: bool, epilogue: &Epilogue<'_>) -> Vec<f32> {
    let plan = Plan::of(g);
    let tile = plan.tile;
    let u = if flipped { kernels(tile, w, g.c, g.m, true) } else { kernels(tile, w, g.m, g.c, false) };
    let (from, to) = (padded(g.c), padded(g.m));
    let most = plan.tiles(plan.images) * tile.positions();
    let planes = Planes { x, channels: g.c, h: g.h, w: g.w, before: [g.ph, g.pw], side: tile.out() + 2 };
    let fill = |y: &Shared<'_>| {
        par::scratch(most * from, |v| {
            par::scratch(most * to, |products| {
                for images in plan.chunks(g) {
                    let tiles = plan.tiles(images.len());
                    planes.transform(&plan, images.clone(), v, Tile::input);
                    let shared = Shared::new(products);
                    par::tasks(tile.positions(), |p| {
                        let v = Mat::strided(&v[p * tiles * from..], tiles, g.c, from);
                        let u = &u[p * g.m * g.c..];
                        let u = if flipped { Mat::new(u, g.c, g.m) } else { Mat::new(u, g.m, g.c).t() };
                        let to_here = shared.pointer(p * tiles * to, (tiles - 1) * to + g.m);
                        // SAFETY: each task has the matrix of a position.
                        unsafe { on_thread(to_here, to, v, u, Beta::Zero) }
                    });
                    back(g, &plan, images, products, y, epilogue);
                }
            });
        });
    };
    // SAFETY: `back` writes every channel of every image.
    unsafe { par::assemble(g.n * g.m * g.positions(), fill) }
}

/// From transformed products to images.
fn back(g: &Geometry, plan: &Plan, images: Range<usize>, products: &[f32], y: &Shared<'_>, epilogue: &Epilogue<'_>) {
    let (width, tiles, step) = (padded(g.m), plan.tiles(images.len()), plan.tile.out());
    let (blocks, each) = (width / LANES, plan.down * plan.across);
    let row = plan.across * step;
    par::tasks(images.len() * blocks, |task| {
        let (image, block) = (task / blocks, task % blocks);
        par::lanes(plan.down * step * row, |buffer| {
            for tile in 0..each {
                let (down, across) = (tile / plan.across * step, tile % plan.across * step);
                let from = &products[(image * each + tile) * width + block * LANES..];
                plan.tile.output(from, tiles * width, &mut buffer[down * row + across..], row);
            }
            for (lane, m) in (block * LANES..g.m.min((block + 1) * LANES)).enumerate() {
                let at = g.out_plane(images.start + image, 0, m);
                // SAFETY: this channel of this image belongs to this task.
                let plane = unsafe { y.fresh(at, g.positions()) };
                for (to, from) in plane.chunks_mut(g.ow).zip(buffer.chunks(row)) {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = from.0[lane]);
                }
                epilogue.finish(m, at, plane);
            }
        });
    });
}

/// dw += the gradient to the weights.
pub(super) fn to_weights(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let plan = Plan::of(g);
    let tile = plan.tile;
    let (wide, high) = (padded(g.c), padded(g.m));
    let most = plan.tiles(plan.images) * tile.positions();
    let inputs = Planes { x, channels: g.c, h: g.h, w: g.w, before: [g.ph, g.pw], side: tile.out() + 2 };
    let outputs = Planes { x: dy, channels: g.m, h: g.oh, w: g.ow, before: [0, 0], side: tile.out() };
    let mut du = par::zeros(tile.positions() * g.m * g.c);
    par::scratch(most * wide, |v| {
        par::scratch(most * high, |t| {
            for images in plan.chunks(g) {
                let tiles = plan.tiles(images.len());
                inputs.transform(&plan, images.clone(), v, Tile::input);
                outputs.transform(&plan, images.clone(), t, Tile::output_gradient);
                let shared = Shared::new(&mut du);
                par::tasks(tile.positions(), |p| {
                    let v = Mat::strided(&v[p * tiles * wide..], tiles, g.c, wide);
                    let t = Mat::strided(&t[p * tiles * high..], tiles, g.m, high);
                    // SAFETY: each task has the matrix of a position.
                    small(unsafe { shared.slice(p * g.m * g.c, g.m * g.c) }, t.t(), v, Beta::One);
                });
            }
        });
    });
    par::weighted_rows(dw, 9 * g.c, tile.positions() * g.c, |first, rows| {
        for (m, row) in (first..).zip(rows.chunks_mut(9 * g.c)) {
            for c in (0..g.c).step_by(LANES) {
                let n = LANES.min(g.c - c);
                tile.kernel_gradient(&du[m * g.c + c..], g.m * g.c, n, &mut row[9 * c..]);
            }
        }
    });
}
