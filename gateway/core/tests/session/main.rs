//! Sessions in virtual time: what a client and the router do, and what the session answers to both.

mod early;
mod ending;
mod frames;
mod harness;
mod json_form;
mod opening;
mod quic;
mod rates;
mod time;
