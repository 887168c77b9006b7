//! Class `connection`: the handshake, the end, and what concerns all channels.

use bytes::Bytes;

use super::argument::methods;
use crate::{
    reply::ReplyCode,
    table::FieldTable,
    types::{Secret, ShortString},
};

methods! {
    class 10;

    /// Opens the handshake and tells what the server is and how to log in.
    Start = 10 "connection.start" from Server -> [StartOk] {
        /// The major version of the protocol: 0.
        version_major: u8,
        /// The minor version of the protocol: 9.
        version_minor: u8,
        /// What the server is; its `capabilities` are a table within.
        server_properties: FieldTable,
        /// The SASL mechanisms that the server takes, separated by spaces.
        mechanisms: Bytes,
        /// The locales of its texts, separated by spaces.
        locales: Bytes,
    }

    /// Chooses a mechanism and logs in.
    StartOk = 11 "connection.start-ok" from Client -> [] {
        /// What the client is; its `capabilities` are a table within.
        client_properties: FieldTable,
        /// The SASL mechanism that is used, one of those that the server takes.
        mechanism: ShortString,
        /// The first response of the mechanism.
        response: Secret,
        /// One of the server's locales.
        locale: ShortString,
    }

    /// Goes on with the login.
    Secure = 20 "connection.secure" from Server -> [SecureOk] {
        /// What the mechanism asks.
        challenge: Bytes,
    }

    /// Answers what the mechanism asked.
    SecureOk = 21 "connection.secure-ok" from Client -> [] {
        /// The response of the mechanism.
        response: Secret,
    }

    /// Proposes limits.
    Tune = 30 "connection.tune" from Server -> [TuneOk] {
        /// The highest channel number; 0 is no limit.
        channel_max: u16,
        /// The size of the largest frame; 0 is no limit.
        frame_max: u32,
        /// The interval of heartbeats in seconds; 0 is none.
        heartbeat: u16,
    }

    /// Settles the limits, none above what the server proposed.
    TuneOk = 31 "connection.tune-ok" from Client -> [] {
        /// The highest channel number. RabbitMQ takes 0 as no limit, LavinMQ closes the connection.
        channel_max: u16,
        /// The size of the largest frame. RabbitMQ takes 0 as no limit, LavinMQ closes the connection.
        frame_max: u32,
        /// The interval of heartbeats in seconds; 0 is none.
        heartbeat: u16,
    }

    /// Chooses a virtual host.
    Open = 40 "connection.open" from Client -> [OpenOk] {
        /// The name of the virtual host.
        virtual_host: ShortString,
        /// Reserved.
        capabilities: ShortString,
        /// Reserved.
        insist: bool,
    }

    /// Ends the handshake.
    OpenOk = 41 "connection.open-ok" from Server -> [] {
        /// Reserved.
        known_hosts: ShortString,
    }

    /// Asks to end the connection. Whoever sent it discards all but the answer.
    Close = 50 "connection.close" from Both -> [CloseOk] {
        /// Why.
        reply_code: ReplyCode,
        /// Why, in words.
        reply_text: ShortString,
        /// The class of the method that was at fault, or 0.
        class_id: u16,
        /// The method that was at fault, or 0.
        method_id: u16,
    }

    /// Ends the connection.
    CloseOk = 51 "connection.close-ok" from Both -> [] {}

    /// Tells that the server takes no messages for now. A RabbitMQ extension.
    Blocked = 60 "connection.blocked" from Server -> [] {
        /// Why.
        reason: ShortString,
    }

    /// Tells that the server takes messages again. A RabbitMQ extension.
    Unblocked = 61 "connection.unblocked" from Server -> [] {}

    /// Replaces the credentials before they expire. A RabbitMQ extension.
    UpdateSecret = 70 "connection.update-secret" from Client -> [UpdateSecretOk] {
        /// The new credentials.
        new_secret: Secret,
        /// Why, for the server's log.
        reason: ShortString,
    }

    /// Confirms that the new credentials are used.
    UpdateSecretOk = 71 "connection.update-secret-ok" from Server -> [] {}
}
