//! The priority of threads whose work isn't urgent.

/// The `nice` value of such a thread.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lowers the priority of this thread, so that threads that serve clients run first. On Linux, each thread has its own priority.
#[cfg(target_os = "linux")]
pub fn give_way() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!("the priority of a thread could not be lowered: {error}");
    }
}

/// Other systems have only the priority of a process, which must not be lowered.
#[cfg(not(target_os = "linux"))]
pub fn give_way() {}
