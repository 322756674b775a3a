//! Calls of the operating system stand behind small safe functions here, with the only `unsafe` of the
//! program.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

/// Larger than any webhook and most answers, which are so frequent that they should stay in a heap.
const LARGE_BUFFER_BYTES: i32 = 256 << 10;
/// What a heap may keep at its end. Less of it is given back and asked for again all the time.
const FREE_BYTES_KEPT: i32 = 4 << 20;
/// Twice the threads that allocate at the same time: reactor, writer, a webhook's and a query's.
const HEAPS: i32 = 8;
/// A tenth of the weight of an ordinary thread (sched(7), "The nice value").
const LOW_PRIORITY: i32 = 10;
/// The first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_PASSED: RawFd = 3;

/// What tells of passed sockets, and is of no use to a program that this one starts.
const LISTEN_VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// The socket that systemd passed to this very process, if it did: once, however often it is asked for,
/// and not to a program that is started from here. Several are an error of the kind `InvalidInput`.
///
/// To be called before a second thread is started: it changes the environment.
pub fn inherited_socket() -> io::Result<Option<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let count = number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(std::process::id()));
    match count {
        None | Some(0) => Ok(None),
        Some(1) if TAKEN.swap(true, SeqCst) => Ok(None),
        Some(1) => {
            let socket = adopt(FIRST_PASSED);
            forget_variables(&LISTEN_VARIABLES);
            // Also tells whether there is such a descriptor at all.
            fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
            Ok(Some(socket))
        }
        Some(count) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{count} sockets were passed, and one is served"),
        )),
    }
}

#[allow(unsafe_code)]
fn forget_variables(names: &[&str]) {
    for name in names {
        // SAFETY: no other thread reads or changes the environment meanwhile, because there is none:
        // the one caller is itself called before the service starts any.
        unsafe { std::env::remove_var(name) };
    }
}

#[allow(unsafe_code)]
fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: sd_listen_fds(3) hands this descriptor to the process whose id is LISTEN_PID, which
    // the caller has checked to be ours; nothing else in the program owns it, and the caller's flag
    // lets it be adopted once.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// Answers in place of the C library, whose own reads `/proc/self/maps` with scanf(3), and with it all that makes floats
/// of text: 110 KB that nothing else uses. The standard library asks it for the stack of each thread, so as to say which
/// one has overflowed it; such a thread now ends the process by SIGSEGV without a word.
#[allow(unsafe_code)]
// SAFETY: its type is that of pthread_getattr_np(3), and it says that it has filled in nothing.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_: libc::pthread_t, _: *mut libc::pthread_attr_t) -> libc::c_int {
    libc::ENOSYS
}

/// The standard streams that were closed when the process began, a bit for each.
static CLOSED_AT_START: AtomicU8 = AtomicU8::new(0);

/// Run by the C library before the standard library, which opens closed standard streams on `/dev/null`.
#[allow(unsafe_code)]
#[used]
// SAFETY: the section holds pointers to functions that the C library calls one after the other; this one takes none
// of the arguments that some pass, needs nothing of the standard library, and does not unwind.
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STREAMS: extern "C" fn() = look_at_streams;

#[allow(unsafe_code)]
extern "C" fn look_at_streams() {
    for stream in 0..=2 {
        // SAFETY: F_GETFD only reads a flag of a descriptor, and says so where there is none (fcntl(2)).
        if unsafe { libc::fcntl(stream, libc::F_GETFD) } == -1 {
            CLOSED_AT_START.fetch_or(1 << stream, SeqCst);
        }
    }
}

/// True of a standard stream that whoever started this process had closed.
pub fn was_closed_at_start(stream: RawFd) -> bool {
    (0..=2).contains(&stream) && CLOSED_AT_START.load(SeqCst) & 1 << stream != 0
}

/// Blocks the signals that a service or a follower obeys, which would end the process as long as nobody does, and lets
/// every other one reach it: a mask outlives exec(3). What is blocked comes once [`unblock_signals`] is called.
///
/// To be called before a second thread is started, which inherits the mask of the first.
pub fn hold_signals() {
    block_alone(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR2]);
}

/// Lets every signal reach this process, also those that were sent to it while they were blocked.
pub fn unblock_signals() {
    block_alone(&[]);
}

/// Blocks these, and no other.
#[allow(unsafe_code)]
fn block_alone(signals: &[libc::c_int]) {
    // SAFETY: sigemptyset(3) fills in the set that it is given, which is ours and large enough, and sigaddset(3)
    // changes it; then it is initialised. pthread_sigmask(3) reads it, and writes nowhere where the old mask is not
    // asked for.
    unsafe {
        let mut blocked = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(blocked.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(blocked.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, blocked.as_ptr(), std::ptr::null_mut());
    }
}

/// Undoes an inherited `SIG_IGN` of `SIGCHLD`, under which the kernel forgets how a child has ended (wait(2)).
#[allow(unsafe_code)]
pub fn wait_for_children_as_usual() {
    // SAFETY: the default action of a signal runs no code of this program.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// Raises the number of descriptors that this process may open to what it is allowed to, and says
/// how many that are.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // It may be refused; then the limit stays what it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// Has the C library's allocator give large buffers back to the system as soon as they are free, and
/// keep few heaps. Left alone it learns from the first large answers to keep all later ones.
#[allow(unsafe_code)]
pub fn keep_little_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two integers and changes, under the allocator's own lock, how later
    // allocations are made. It refuses what it does not know, and then nothing has changed.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BUFFER_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, FREE_BYTES_KEPT);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}

/// Has the allocator return to the system what a burst of clients has left free. Takes some
/// milliseconds.
#[allow(unsafe_code)]
pub fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) is thread-safe and touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets other threads go first where there is too little processor time for all: of this thread
/// alone, because Linux keeps the nice value for each (nice(2), "C library/kernel differences").
pub fn lower_priority_of_this_thread() {
    // It may be refused; then searches and commits share as equals.
    let _ = setpriority_process(None, LOW_PRIORITY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_meant_for_another_process_is_left_alone() {
        // The test runner was not started by systemd, so there is nothing to adopt.
        assert!(matches!(inherited_socket(), Ok(None)));
    }

    #[test]
    #[allow(unsafe_code)]
    fn the_standard_library_is_told_nothing_of_stacks_and_goes_on() {
        // SAFETY: pthread_self(3) has no conditions.
        let this = unsafe { libc::pthread_self() };
        assert_eq!(pthread_getattr_np(this, std::ptr::null_mut()), libc::ENOSYS);
        assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
    }

    #[test]
    fn a_variable_is_forgotten() {
        let name = "LYFTR_WEBHOOK_FORGOTTEN";
        forget_variables(&[name]);
        assert!(std::env::var_os(name).is_none());
    }

    #[test]
    fn memory_is_given_out_and_taken_back_as_before() {
        keep_little_free_memory();
        give_back_free_memory();
        let sizes = [1_usize, 4096, 1 << 20];
        assert!(sizes.iter().all(|size| vec![7_u8; *size].iter().all(|byte| *byte == 7)));
    }

    #[test]
    fn a_signal_that_was_blocked_is_delivered() {
        let blocks = |mask: &str| {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            status.contains(&format!("SigBlk:\t{mask}"))
        };
        // The mask is that of this test's own thread.
        block_alone(&[libc::SIGTERM]);
        assert!(blocks("0000000000004000"));
        unblock_signals();
        assert!(blocks("0000000000000000"));
    }

    #[test]
    fn a_child_can_be_waited_for() {
        wait_for_children_as_usual();
        assert!(std::process::Command::new("true").status().unwrap().success());
    }

    #[test]
    fn a_lowered_priority_is_one_threads_own() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let lowered = std::thread::spawn(move || {
            lower_priority_of_this_thread();
            nice()
        });
        assert_eq!(lowered.join().unwrap(), LOW_PRIORITY);
        assert_eq!(nice(), before);
    }

    #[test]
    fn the_descriptor_limit_is_raised_to_what_is_allowed() {
        let raised = raise_descriptor_limit();
        let allowed = getrlimit(Resource::Nofile).maximum;
        assert!(allowed.is_none_or(|allowed| raised as u64 == allowed));
    }
}
