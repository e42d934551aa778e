//! Running out of descriptors. Alone in its file, because the limit is the whole process's.
#![cfg(target_os = "linux")]

use std::fs::File;

use headstart_socket::{
    AfterAcceptError, Class, Kind, ListenOptions, Options, Step, after_accept_error, connect,
    listen,
};

fn set_limit(limit: &libc::rlimit) {
    // SAFETY: the pointer is to one `rlimit`.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) }, 0);
}

#[test]
fn r12_no_descriptor_left_is_an_error_of_class_no_resources() {
    let server = listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::new()).unwrap();
    let addr = server.listener.local_addr().unwrap();
    let waiting = connect(addr, Kind::Plain, b"", &Options::new()).unwrap();

    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to one `rlimit`.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    assert_eq!(result, 0);
    set_limit(&libc::rlimit {
        rlim_cur: 64.min(limit.rlim_cur),
        ..limit
    });
    let mut fillers = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        fillers.push(file);
    }
    let plain = connect(addr, Kind::Plain, b"", &Options::new());
    let fast_open = connect(addr, Kind::FastOpen, b"flight", &Options::new());
    let another = listen(addr, &ListenOptions::new());
    let accepted = server.listener.accept();
    drop(fillers);
    set_limit(&limit);

    for error in [plain.unwrap_err(), fast_open.unwrap_err()] {
        assert_eq!(error.step(), Step::Socket);
        assert_eq!(error.class(), Class::NoResources);
        assert_eq!(error.io_error().raw_os_error(), Some(libc::EMFILE));
    }
    let error = another.unwrap_err();
    assert_eq!(
        (error.step(), error.class()),
        (Step::Socket, Class::NoResources)
    );
    assert_eq!(
        after_accept_error(&accepted.unwrap_err()),
        AfterAcceptError::BackOff
    );
    drop(waiting);
}
