//! What a runtime without its drivers comes to: as the docs say, it panics
//! where tokio does, and nowhere else.

use std::net::TcpListener;

use headstart_tokio::{Dialer, Framing, Gate};
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};

fn without_io() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn without_time() -> Runtime {
    Builder::new_current_thread().enable_io().build().unwrap()
}

#[test]
#[should_panic(expected = "IO is disabled")]
fn opening_a_gate_without_io_panics() {
    without_io().block_on(async {
        let builder = Gate::builder(Framing::token()).unwrap();
        let _ = builder.bind(([127, 0, 0, 1], 0).into());
    });
}

#[test]
#[should_panic(expected = "IO is disabled")]
fn dialling_without_io_panics() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    without_io().block_on(async {
        let dialer = Dialer::builder().unwrap().build().unwrap();
        let _ = dialer.dial(listener.local_addr().unwrap()).await;
    });
}

#[test]
fn building_a_dialer_never_panics() {
    let bare = Builder::new_current_thread().build().unwrap();
    for runtime in [without_io(), without_time(), bare] {
        runtime.block_on(async {
            drop(Dialer::builder().unwrap().token().build().unwrap());
        });
    }
}

#[test]
fn without_time_accepts_fail_and_panic_nowhere_else() {
    without_time().block_on(async {
        let builder = Gate::builder(Framing::token()).unwrap();
        let gate = builder.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let dialer = Dialer::builder().unwrap().token().build().unwrap();
        let mut stream = dialer.dial(gate.local_addr()).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream.flush().await.unwrap();
        assert!(gate.accept().await.is_err());
    });
}

#[test]
fn without_a_runtime_there_is_an_error() {
    assert!(Dialer::builder().is_err());
    assert!(Gate::builder(Framing::token()).is_err());
}
