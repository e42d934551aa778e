//! What a listener is set to, whoever opened it.

use std::io;

use socket2::SockRef;

use crate::listen::CookieKey;
use crate::sys;

/// The Fast Open options of a listening socket, read back from the kernel. Linux only.
///
/// Another process's listener can be read by a descriptor of it (`pidfd_getfd`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerSettings {
    /// `TCP_FASTOPEN`: the queue, in connections. 0: the option is not set.
    pub queue: u32,
    /// `TCP_FASTOPEN_KEY`: a cookie key of its own. `None`: that of the network namespace.
    pub key: Option<CookieKey>,
    /// `TCP_FASTOPEN_NO_COOKIE`: accepts data in a SYN without a cookie, which allows amplification
    /// attacks (RFC 7413 section 5.1).
    pub without_cookie: bool,
}

impl ListenerSettings {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// The system's: `ENOPROTOOPT` from kernels before 4.15.
    pub fn of<'a>(listener: impl Into<SockRef<'a>>) -> io::Result<Self> {
        let listener = listener.into();
        let mut room = [0; 32];
        Ok(Self {
            queue: sys::fast_open_queue(&listener)?,
            key: CookieKey::from_bytes(sys::cookie_key(&listener, &mut room)?),
            without_cookie: sys::accepts_without_cookie(&listener)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{ListenOptions, QueueLen, listen};

    use super::*;

    #[test]
    fn settings_are_read_back() {
        let addr = "127.0.0.1:0".parse().unwrap();
        let key = CookieKey::new([7; 16]).with_backup([9; 16]);
        for (options, queue, key) in [
            (ListenOptions::new().fast_open(QueueLen::Len(5)), 5, None),
            (
                ListenOptions::new()
                    .fast_open(QueueLen::Len(7))
                    .cookie_key(Some(key.clone())),
                7,
                Some(key),
            ),
        ] {
            let listening = listen(addr, &options).unwrap();
            let settings = ListenerSettings::of(&listening.listener).unwrap();
            assert_eq!(settings.queue, queue);
            assert_eq!(settings.key, key);
            assert!(!settings.without_cookie);
        }
    }

    #[test]
    fn a_listener_without_cookies_is_seen() {
        let addr = "127.0.0.1:0".parse().unwrap();
        let listening = listen(addr, &ListenOptions::new().fast_open(QueueLen::Off)).unwrap();
        sys::accept_without_cookie(&SockRef::from(&listening.listener)).unwrap();
        let settings = ListenerSettings::of(&listening.listener).unwrap();
        assert!(settings.without_cookie);
        assert_eq!(settings.queue, 0);
    }
}
