//! An AMQP 0-9-1 client that survives outages.
