//! The table.
//!
//! A setting stands here only when there is a reason for it that concerns Switchyard. What guides for other servers
//! recommend and this table leaves alone is listed in `README.md`, with the reason as well.

use crate::setting::Amount::{Fixed, PerThousand};
use crate::setting::Profile::{LowLatency, MillionWebsocket, QuicMobile};
use crate::setting::{Amount, Effect, Limit, Place, Profile, Rule, Setting, Weight};

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    Setting {
        place: Place::SysctlSince("kernel.io_uring_disabled"),
        rule: Rule::Exactly,
        wanted: &everywhere(&[Fixed(0)]),
        weight: Weight::Needed,
        reason: "gateway threads and router cores do all their input and output through io_uring; without it the server \
                 does not start (1 still admits root and the members of kernel.io_uring_group). Kernels before 6.6 do not \
                 have it and restrict nothing",
        source: "Documentation/admin-guide/sysctl/kernel.rst",
        effect: Effect::Measured {
            seen: "without io_uring the server refuses to start and says what to do",
            command: "cargo xtask foreign -k without_io_uring",
        },
    },
    Setting {
        place: Place::Sysctl("fs.file-max"),
        rule: Rule::AtLeast,
        wanted: &[(MillionWebsocket, &[PerThousand { each: 2_000, beside: 100_000 }])],
        weight: Weight::Needed,
        reason: "a connection is an open file, and this is how many the whole host may have; the value leaves room for a \
                 load generator on the same host. Beyond it accept fails with ENFILE",
        source: "Documentation/admin-guide/sysctl/fs.rst",
        effect: Effect::NotMeasured("the kernel's own choice, 2,466,177 with 24 GiB of memory, was never reached"),
    },
    Setting {
        place: Place::Sysctl("fs.nr_open"),
        rule: Rule::AtLeast,
        wanted: &[(MillionWebsocket, &[Fixed(1_048_576)])],
        weight: Weight::Helps,
        reason: "no limit on descriptors can be set above it: with less, systemd does not start a unit with \
                 LimitNOFILE=1048576",
        source: "Documentation/admin-guide/sysctl/fs.rst, setrlimit(2)",
        effect: Effect::NotMeasured("it is the kernel's default"),
    },
    Setting {
        place: Place::Limit(Limit::Nofile),
        rule: Rule::AtLeast,
        wanted: &[(MillionWebsocket, &[Fixed(1_048_576)])],
        weight: Weight::Helps,
        reason: "a connection is a descriptor, and each gateway thread has a table of its own with this limit; with a low \
                 one, a million connections take more gateway threads",
        source: "getrlimit(2), unshare(2)",
        effect: Effect::Measured {
            seen: "20,000 are enough for 1,000,000 connections on 55 gateway threads with a table each, on two processors",
            command: "docs/measurements.md, \"A million connections\"",
        },
    },
    Setting {
        place: Place::Limit(Limit::Memlock),
        rule: Rule::AtLeast,
        wanted: &everywhere(&[Fixed(2 << 30)]),
        weight: Weight::Helps,
        reason: "each gateway thread's rings count 100 KiB against it (from kernel 6.14 on), each router core's buffers up to 12 \
                 MiB; when the rings do not fit, the server does not start, and buffers that do not fit beside them are not \
                 registered. The value is enough for 128 of both, the most there can be",
        source: "getrlimit(2), io_uring_register(2)",
        effect: Effect::Measured {
            seen: "one router core pins 6 or 12 MiB (`VmPin`); without CAP_IPC_LOCK and with 8 MiB, 54 gateway threads start \
                   beside it and 84 do not",
            command: "kernel-tuning/README.md, \"Locked memory\"",
        },
    },
    Setting {
        place: Place::Sysctl("net.core.somaxconn"),
        rule: Rule::AtLeast,
        wanted: &[(MillionWebsocket, &[Fixed(4_096)])],
        weight: Weight::Helps,
        reason: "the kernel silently cuts the gateway's backlog of 4,096 down to it. When a fleet reconnects, a connection \
                 that does not fit is dropped, and its client tries again a second later",
        source: "listen(2), Documentation/networking/ip-sysctl.rst",
        effect: Effect::Measured {
            seen: "2,000 clients at once, accepted after 0.3 s: at 128 only 129 are in at once and the last after 1.1 to \
                   2.1 s; at 4,096 all are, and the last after 0.3 s",
            command: "kernel-tuning/measure.py backlog",
        },
    },
    Setting {
        place: Place::Sysctl("net.ipv4.tcp_mem"),
        rule: Rule::AtLeast,
        wanted: &[(
            MillionWebsocket,
            &[
                PerThousand { each: 500, beside: 16_384 },
                PerThousand { each: 750, beside: 24_576 },
                PerThousand { each: 1_000, beside: 32_768 },
            ],
        )],
        weight: Weight::Helps,
        reason: "pages of 4 KiB for everything that TCP has queued; a socket with a single unread or unacknowledged message \
                 takes one. Above the second number every connection's buffers are cut, above the third packets are dropped",
        source: "Documentation/networking/ip-sysctl.rst, tcp(7)",
        effect: Effect::Measured {
            seen: "0.8 to 0.9 pages for each socket with 100 unread bytes",
            command: "kernel-tuning/measure.py unread",
        },
    },
    Setting {
        place: Place::Sysctl("net.ipv4.tcp_rmem"),
        rule: Rule::AtMost,
        wanted: &[(MillionWebsocket, &[Fixed(4_096), Fixed(131_072), Fixed(262_144)])],
        weight: Weight::Helps,
        reason: "what one connection may keep in the kernel while the gateway does not read it, because it sent too much. A \
                 frame has at most 64 KiB, so 256 KiB slow no honest client down",
        source: "Documentation/networking/ip-sysctl.rst, tcp(7)",
        effect: Effect::Measured {
            seen: "a connection that was fast and then is not read any more keeps 252 KiB instead of 7 to 24 MiB",
            command: "kernel-tuning/measure.py buffers",
        },
    },
    Setting {
        place: Place::Sysctl("net.ipv4.tcp_wmem"),
        rule: Rule::AtMost,
        wanted: &[(MillionWebsocket, &[Fixed(4_096), Fixed(16_384), Fixed(524_288)])],
        weight: Weight::Helps,
        reason: "what a client that stops reading keeps in the kernel. A device is never sent more than 256 KiB that it has \
                 not acknowledged, and a page of history has at most that",
        source: "Documentation/networking/ip-sysctl.rst, tcp(7)",
        effect: Effect::Measured {
            seen: "a client that was fast and then stops reading keeps 0.6 MiB instead of 4 MiB",
            command: "kernel-tuning/measure.py buffers",
        },
    },
    Setting {
        place: Place::Sysctl("net.ipv4.ip_local_port_range"),
        rule: Rule::Covers,
        wanted: &[(MillionWebsocket, &[Fixed(10_000), Fixed(65_535)])],
        weight: Weight::Helps,
        reason: "for the side that connects: a load generator or a proxy on this host has so many connections to one address \
                 and port, and looks for a free port ever longer. The server itself needs none; it listens below the range",
        source: "Documentation/networking/ip-sysctl.rst, ip(7)",
        effect: Effect::Measured {
            seen: "25 µs a connect until half of the range is in use, 120 µs and more after that, refused when it is full",
            command: "kernel-tuning/measure.py ports",
        },
    },
    Setting {
        place: Place::SysctlInUse { key: "net.netfilter.nf_conntrack_max", count: "net.netfilter.nf_conntrack_count" },
        rule: Rule::AtLeast,
        wanted: &[
            (MillionWebsocket, &[PerThousand { each: 1_100, beside: 65_536 }]),
            (QuicMobile, &[PerThousand { each: 1_100, beside: 65_536 }]),
        ],
        weight: Weight::Needed,
        reason: "where a firewall rule tracks connections, each takes an entry; when the table is full, packets of new \
                 connections are dropped. Better still is not to track the gateway's ports at all (NOTRACK)",
        source: "Documentation/networking/nf_conntrack-sysctl.rst",
        effect: Effect::NotMeasured("no rule tracked connections on the machine where measurements were taken"),
    },
    Setting {
        place: Place::Sysctl("net.core.rmem_max"),
        rule: Rule::AtLeast,
        wanted: &[(QuicMobile, &[Fixed(8 << 20)])],
        weight: Weight::Helps,
        reason: "all phones of a gateway thread arrive at one UDP socket; its buffer holds what comes while the thread is in \
                 a turn, and may not be larger than this",
        source: "socket(7), udp(7)",
        effect: Effect::Measured {
            seen: "of a burst of 20,000 datagrams of 1,200 bytes, 212,992 bytes keep 184, 4 MiB 3,640 and 8 MiB 7,281",
            command: "kernel-tuning/measure.py datagrams",
        },
    },
    Setting {
        place: Place::Sysctl("net.core.wmem_max"),
        rule: Rule::AtLeast,
        wanted: &[(QuicMobile, &[Fixed(4 << 20)])],
        weight: Weight::Helps,
        reason: "what a turn sends to all phones leaves through one socket; with a small buffer the thread has to wait for \
                 the network card in between",
        source: "socket(7), udp(7)",
        effect: Effect::Measured {
            seen: "of a burst of datagrams of 1,200 bytes to a network of 1 Mbit/s, a socket takes 193 with 212,992 bytes and \
                   3,641 with 4 MiB before its thread has to wait",
            command: "kernel-tuning/measure.py sending",
        },
    },
    Setting {
        place: Place::Sysctl("net.ipv4.tcp_slow_start_after_idle"),
        rule: Rule::Exactly,
        wanted: &[(LowLatency, &[Fixed(0)])],
        weight: Weight::Helps,
        reason: "chats are idle most of the time, and after an idle moment TCP begins with ten packets again: catching up \
                 with more than 14 KB then takes round trips more. Without effect under BBR, which has its own way",
        source: "Documentation/networking/ip-sysctl.rst, RFC 2861",
        effect: Effect::Measured {
            seen: "256 KiB to a client 100 ms away, two seconds after the last bytes: there after 255 to 474 ms with 1 and \
                   after 52 to 71 ms with 0, under CUBIC; under BBR after 54 to 69 ms with either",
            command: "kernel-tuning/measure.py idle",
        },
    },
    Setting {
        place: Place::Sysctl("net.ipv4.tcp_notsent_lowat"),
        rule: Rule::AtMost,
        wanted: &[(LowLatency, &[Fixed(131_072)])],
        weight: Weight::Helps,
        reason: "what waits in the kernel cannot be overtaken: with less of it, a live message to a slow client does not \
                 stand behind megabytes of history",
        source: "Documentation/networking/ip-sysctl.rst, tcp(7)",
        effect: Effect::Measured {
            seen: "193 KiB wait for a client that stops reading instead of 4 MiB",
            command: "kernel-tuning/measure.py buffers",
        },
    },
    Setting {
        place: Place::Sysctl("kernel.numa_balancing"),
        rule: Rule::Exactly,
        wanted: &[(LowLatency, &[Fixed(0)])],
        weight: Weight::Helps,
        reason: "threads are pinned and their memory is where they are; the kernel's search for better places only costs \
                 page faults in the middle of a turn",
        source: "Documentation/admin-guide/sysctl/kernel.rst",
        effect: Effect::NotMeasured("the machine where measurements were taken has one memory node"),
    },
    Setting {
        place: Place::Directive("MemorySwapMax"),
        rule: Rule::Exactly,
        wanted: &[(LowLatency, &[Fixed(0)])],
        weight: Weight::Helps,
        reason: "a turn that touches a page on a swap device makes every connection of its thread wait for that device; the \
                 memory of the server is bounded by its configuration and should be there",
        source: "systemd.resource-control(5)",
        effect: Effect::NotMeasured("the machine where measurements were taken has no swap"),
    },
];

/// The same in every profile.
const fn everywhere(amounts: &'static [Amount]) -> [(Profile, &'static [Amount]); 3] {
    [(MillionWebsocket, amounts), (QuicMobile, amounts), (LowLatency, amounts)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_the_table_then_each_place_stands_there_once_and_a_profile_wants_as_many_numbers_as_another() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            let name = setting.place.name();
            assert!(SETTINGS[index + 1..].iter().all(|other| other.place.name() != name), "{name} stands there twice");
            let numbers: Vec<usize> = setting.wanted.iter().map(|(_, amounts)| amounts.len()).collect();
            assert!(!numbers.is_empty() && numbers.iter().all(|count| *count == numbers[0]), "{name}");
            if setting.rule == Rule::Covers {
                assert_eq!(numbers[0], 2, "{name}: a range has two ends");
            }
        }
    }

    #[test]
    fn given_a_profile_then_it_wants_something_and_tcp_mem_rises_from_number_to_number() {
        for profile in Profile::ALL {
            assert!(SETTINGS.iter().any(|setting| setting.wanted(profile, 1_000).is_some()));
        }
        let tcp_mem = SETTINGS.iter().find(|setting| setting.place.name() == "net.ipv4.tcp_mem").expect("it is there");
        for connections in [1_000, 15_000, 1_000_000] {
            let wanted = tcp_mem.wanted(MillionWebsocket, connections).expect("wanted");
            assert!(wanted.numbers().is_sorted(), "{wanted}");
        }
    }
}
