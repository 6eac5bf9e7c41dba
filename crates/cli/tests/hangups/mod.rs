//! Whether a hangup can be seen at all.

/// Whether whoever started the tests ignores hangups, as `nohup` does. Then so does every run, and a test
/// that waited for one to end would wait for ever. Says so.
pub fn are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let are_ignored = mask.is_some_and(|mask| mask & 1 == 1);
    if are_ignored {
        println!("hangups are ignored here: nothing to see");
    }
    are_ignored
}
