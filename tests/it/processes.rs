//! Running the program as another process does: signals, limits, and the moment at which it is where a test wants it.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

/// Sends a signal, by its name without `SIG`.
pub fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap().success());
}

/// The command under a limit of the shell: `ulimit LIMIT`.
pub fn under(limit: &str, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.arg("-c").arg(format!("ulimit {limit} && exec \"$@\"")).arg("sh").arg(command.get_program());
    limited.args(command.get_args()).stdin(Stdio::null());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(key, value),
            None => limited.env_remove(key),
        };
    }
    limited
}

/// Starts a job with `--format json`, and returns its lines from the first epoch on: it has begun to unlearn.
pub fn begun(command: &mut Command) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command.args(["--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let epoch = lines.any(|line| line.unwrap().contains("\"event\":\"epoch\""));
    assert!(epoch, "it ended before it began to unlearn");
    (child, lines)
}
