//! How much memory the debouncer takes, and when: counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use headstart_core::Instant;
use headstart_core::debounce::{Config, Debouncer, Secret};

/// Counts what this thread takes and gives back.
struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    CALLS.set(CALLS.get() + 1);
    BYTES.set(BYTES.get() + bytes);
}

// SAFETY: all calls go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `make` makes, and how many bytes that holds afterwards.
fn held<T>(make: impl FnOnce() -> T) -> (T, usize) {
    let before = BYTES.get();
    let made = make();
    (made, usize::try_from(BYTES.get() - before).unwrap())
}

#[test]
fn d2_at_most_48_bytes_an_entry_at_any_capacity() {
    let awkward = [
        1_024, 1_025, 1_031, 1_500, 2_047, 2_049, 4_097, 10_007, 65_535, 65_537,
    ];
    let large = [
        100_003, 262_145, 524_287, 999_983, 1_000_000, 1_048_577, 2_000_000,
    ];
    for capacity in awkward.into_iter().chain(large) {
        let config = Config {
            capacity,
            ..Config::default()
        };
        let (debouncer, bytes) = held(|| Debouncer::new(config).unwrap());
        assert_eq!(bytes, debouncer.allocated_bytes(), "capacity {capacity}");
        assert!(bytes <= 48 * capacity, "capacity {capacity}: {bytes} bytes");
        assert_eq!(debouncer.capacity(), capacity);
        drop(debouncer);
    }
}

#[test]
fn d2_all_memory_is_taken_at_once() {
    let secret = Secret::from_bytes(&std::array::from_fn(|index| (index * 151) as u8));
    let window = Duration::from_secs(1);
    for capacity in [1, 7, 1_000, 20_000] {
        let mut debouncer = Debouncer::new(Config { capacity, window }).unwrap();
        let (calls, bytes) = (CALLS.get(), debouncer.allocated_bytes());
        // Twice full within the window, then sparse enough that all expire.
        for number in 0..60_000_u64 {
            let now = Instant::from_nanos(number * number);
            let message = (number / 2).to_le_bytes();
            _ = debouncer.observe(now, secret.digest(&message), number);
            let mut hasher = secret.hasher();
            hasher.update(&message);
            _ = debouncer.observe(now, hasher.digest(), number);
        }
        assert_eq!(CALLS.get(), calls, "an observation allocated");
        assert_eq!(debouncer.allocated_bytes(), bytes);
        let stats = debouncer.stats();
        assert!(
            stats.duplicates >= 60_000 && stats.first >= 30_000,
            "{stats:?}"
        );
    }
}
