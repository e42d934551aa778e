//! Settings of the kernel by name, on macOS, iOS and FreeBSD.

use std::ffi::CStr;
use std::io;
use std::ptr;

/// Reads a setting that is one 32-bit integer.
///
/// # Errors
///
/// `ENOENT` if there is none of this name; otherwise the system's.
pub(super) fn read(name: &CStr) -> io::Result<u32> {
    let mut value = [0; size_of::<u32>()];
    let mut length = value.len();
    // SAFETY: `name` ends with a zero byte, the kernel writes at most `length` bytes to `value`,
    // which is that long, and their number to `length`; nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            &mut length,
            ptr::null_mut(),
            0,
        )
    };
    match result {
        0 if length == value.len() => Ok(u32::from_ne_bytes(value)),
        0 => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the sysctl is not a 32-bit integer",
        )),
        _ => Err(io::Error::last_os_error()),
    }
}
