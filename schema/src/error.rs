//! The error codes that a client can meet, one table for both wire forms, and the WebSocket close codes.

macro_rules! error_codes {
    ($($(#[$doc:meta])* $code:literal $variant:ident $name:literal fatal=$fatal:literal retry=$retry:literal $reason:literal;)*) => {
        /// Why a frame, or a session, was refused.
        #[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        pub enum ErrorCode { $($(#[$doc])* $variant = $code,)* }

        impl ErrorCode {
            /// Every code, in numeric order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code with this number.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The name that the JSON form carries.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether the server closes the session after it.
            #[must_use]
            pub const fn fatal(self) -> bool {
                match self { $(Self::$variant => $fatal,)* }
            }

            /// Whether the same request may succeed later.
            #[must_use]
            pub const fn retry(self) -> bool {
                match self { $(Self::$variant => $retry,)* }
            }

            /// What happened and what to do, when the place that refuses has nothing more exact to say.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason,)* }
            }
        }
    };
}

error_codes! {
    /// The frame could not be parsed or breaks a rule of its fields.
    1000 MalformedFrame "malformed_frame" fatal=true retry=false "the frame cannot be parsed; see docs/protocol.md";
    /// A frame type or union member that this server does not know.
    1001 UnsupportedFrame "unsupported_frame" fatal=false retry=false "this server does not know that type of frame";
    /// A frame that is not allowed in the session's state.
    1002 UnexpectedFrame "unexpected_frame" fatal=true retry=false "that frame is not allowed now; the first frame is hello, and only once";
    /// A field is out of its bounds.
    1003 InvalidField "invalid_field" fatal=false retry=false "a field is out of its bounds";
    /// The user is not a member of that conversation.
    1004 NotAMember "not_a_member" fatal=false retry=false "you are not a member of that conversation";
    /// The frame, or a part of it, is too large.
    1005 TooLarge "too_large" fatal=false retry=false "the message is larger than this server takes";
    /// The token cannot be verified, or is for somebody else.
    1006 InvalidToken "invalid_token" fatal=true retry=false "the token is not valid here; get a new one";
    /// The token has expired.
    1007 TokenExpired "token_expired" fatal=true retry=false "the token has expired; get a new one and connect again";
    /// The user has as many devices as are allowed.
    1008 TooManyDevices "too_many_devices" fatal=true retry=false "this user has eight devices; remove one first";
    /// The server cannot take the request now.
    1009 Overloaded "overloaded" fatal=false retry=true "the server is busy; try again after retry_after_ms";
    /// The journal cannot take new messages (disk full, or failed).
    1010 StorageUnavailable "storage_unavailable" fatal=false retry=true "messages cannot be stored at the moment; nothing was accepted";
    /// A part of the data is damaged and is not served.
    1011 ShardDamaged "shard_damaged" fatal=false retry=true "this conversation's data is damaged and needs the operator";
    /// No Hello within the time allowed.
    1012 HelloTimeout "hello_timeout" fatal=true retry=true "no hello arrived in time";
    /// The same device connected again.
    1013 SessionReplaced "session_replaced" fatal=true retry=false "the same device connected again";
    /// Nothing was received for twice the heartbeat.
    1014 HeartbeatTimeout "heartbeat_timeout" fatal=true retry=true "nothing was received for twice the heartbeat";
    /// Nothing has been acknowledged, so nothing more is delivered.
    1015 DeliveryStalled "delivery_stalled" fatal=false retry=false "the delivery window is full; ack what you have to receive more";
    /// The server is going away.
    1016 Draining "draining" fatal=false retry=true "the server is going away; reconnect after retry_after_ms";
    /// The connection or the user asks for more than the rate limits allow.
    1017 RateLimited "rate_limited" fatal=false retry=true "too many of these; try again after retry_after_ms";
}

/// WebSocket close codes (RFC 6455 §7.4) that the server sends.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum CloseCode {
    /// The client said Bye, or closed.
    Normal = 1000,
    /// The server drains.
    GoingAway = 1001,
    /// RFC 6455 is broken.
    Protocol = 1002,
    /// A text message on a binary session or the other way round.
    Unsupported = 1003,
    /// Text that is not UTF-8.
    InvalidPayload = 1007,
    /// Larger than allowed.
    TooBig = 1009,
    /// The server failed.
    Internal = 1011,
    /// The server takes no more connections now; over QUIC, where no HTTP status can say so.
    TryAgainLater = 1013,
    /// A fatal [`ErrorCode`] was sent before.
    FatalError = 4000,
    /// The token cannot be verified, or has expired.
    Unauthorized = 4001,
    /// No Hello in time, or a dead heartbeat.
    Timeout = 4002,
    /// The same device connected again.
    Replaced = 4003,
    /// More waits to be read by the client than a connection may hold.
    TooSlow = 4004,
    /// The client goes on sending far more frames than are taken.
    TooFast = 4005,
}

impl CloseCode {
    /// Every code, in numeric order.
    pub const ALL: &'static [Self] = &[
        Self::Normal,
        Self::GoingAway,
        Self::Protocol,
        Self::Unsupported,
        Self::InvalidPayload,
        Self::TooBig,
        Self::Internal,
        Self::TryAgainLater,
        Self::FatalError,
        Self::Unauthorized,
        Self::Timeout,
        Self::Replaced,
        Self::TooSlow,
        Self::TooFast,
    ];

    /// The close code that follows a fatal error.
    #[must_use]
    pub const fn after(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidToken | ErrorCode::TokenExpired => Self::Unauthorized,
            ErrorCode::HelloTimeout | ErrorCode::HeartbeatTimeout => Self::Timeout,
            ErrorCode::SessionReplaced => Self::Replaced,
            ErrorCode::TooLarge => Self::TooBig,
            ErrorCode::Draining => Self::GoingAway,
            _ => Self::FatalError,
        }
    }
}
