//! What the threads of this process do. It is counted for all of them together, so a test that asks
//! has a process to itself.

use std::fs;

/// How often the threads of this process, but for those of this name, have gone to sleep so far.
/// Whoever works in between makes system calls; whoever is idle ends each short run of them by this.
pub fn sleeps(but_for: Option<&str>) -> u64 {
    let threads = fs::read_dir("/proc/self/task").expect("this is Linux");
    let of_thread = |thread: fs::DirEntry| {
        // One that has ended since is none of the client's.
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let figure = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
        if figure("Name:").map(str::trim) == but_for {
            return 0;
        }
        let count = figure("voluntary_ctxt_switches:").and_then(|count| count.trim().parse().ok());
        count.unwrap_or(0)
    };
    threads.flatten().map(of_thread).sum()
}
