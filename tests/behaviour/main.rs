//! What races and gates promise, on the real kernel: each test is named by its
//! rule.

#![allow(unreachable_pub, reason = "a test binary is all there is")]

fn main() {}
