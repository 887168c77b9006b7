//! An AMQP 0-9-1 client that survives outages.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the session does not use it yet")
)]
mod core;
