//! Files in memory.
#![expect(
    unsafe_code,
    reason = "no library knows the flag for files that are to be run"
)]

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};

/// What a file in memory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A program, to be run by its descriptor.
    Program,
    /// Anything else.
    Data,
}

/// A file in memory that holds these bytes and can never change. Closed on exec.
///
/// A machine may forbid that such files are run (`vm.memfd_noexec`, since Linux 6.3):
/// [`Content::Program`] then fails with `EACCES`, or later, when it is run.
pub fn sealed_file(content: Content, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = create(c"apptainer", content)?;
    file.write_all(bytes)?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

fn create(name: &CStr, content: Content) -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let result = match content {
        // Without the flag the kernel warns in its log, and may refuse.
        Content::Program => memfd_create(name, flags | libc::MFD_EXEC),
        Content::Data => memfd_create(name, flags | libc::MFD_NOEXEC_SEAL),
    };
    match result {
        // An older kernel knows neither flag.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => memfd_create(name, flags),
        result => result,
    }
}

fn memfd_create(name: &CStr, flags: libc::c_uint) -> io::Result<File> {
    // SAFETY: the name ends in a NUL.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, for us.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_sealed_file_cannot_be_changed() {
        let file = File::from(sealed_file(Content::Data, b"content").unwrap());
        let mut buffer = [0; 7];
        file.read_exact_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"content");
        assert!(file.write_at(b"x", 0).is_err());
        assert!(file.set_len(0).is_err());
    }
}
