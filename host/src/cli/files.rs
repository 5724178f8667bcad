//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More is of no use, and some systems grant a thousand times that.
const ENOUGH: u64 = 1 << 20;

/// Takes what the system grants. The usual soft limit of 1,024 is there for programs that use
/// `select`; a server with that many clients would refuse them, and could not start ffmpeg.
pub(super) fn open_as_many_as_allowed() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
    if limit.current.is_none_or(|current| current >= most) {
        return;
    }
    let raised = Rlimit {
        current: Some(most),
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("genvid: the limit of open files stays as it is: {error}");
    }
}
