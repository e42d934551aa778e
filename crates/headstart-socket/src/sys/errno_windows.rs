//! Error numbers by what they mean, on Windows (`winsock2.h`).

/// Something is used up on this machine: WSAEMFILE, WSAENOBUFS, WSAEADDRNOTAVAIL, WSAEADDRINUSE;
/// and, where a runtime registers a socket, ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_QUOTA.
pub(crate) const NO_RESOURCES: &[i32] = &[10024, 10055, 10049, 10048, 1450, 1816];

/// A permission or a policy: WSAEACCES.
pub(crate) const NOT_PERMITTED: &[i32] = &[10013];

/// Not there, or switched off: WSAENOPROTOOPT, WSAEOPNOTSUPP, WSAEAFNOSUPPORT, WSAEPROTONOSUPPORT.
pub(crate) const UNSUPPORTED: &[i32] = &[10042, 10045, 10047, 10043];

/// The peer, or the path: WSAECONNREFUSED, WSAECONNRESET, WSAECONNABORTED, WSAENETUNREACH,
/// WSAEHOSTUNREACH, WSAETIMEDOUT, WSAENETDOWN, WSAEHOSTDOWN.
pub(crate) const NETWORK: &[i32] = &[10061, 10054, 10053, 10051, 10065, 10060, 10050, 10064];

/// Further errors of the new connection that `accept` hands out.
pub(crate) const ACCEPT_RETRY: &[i32] = &[];
