//! What each fault does to a run.

use crate::disk::Crash;
use crate::fault::Fault;
use crate::shared::Shared;
use crate::tell;
use crate::world::World;

/// Does what a fault means now. Those of the disk and the store are counted when they strike.
pub(crate) fn inject(world: &mut World, shared: &mut Shared, fault: Fault) {
    let now_us = shared.agenda.now_us();
    let until_us = now_us + shared.random.around(4_000_000);
    match fault {
        Fault::Kill | Fault::PowerLoss | Fault::Restart => {
            if world.server.is_none() {
                return;
            }
            shared.counts.count(fault);
            match fault {
                Fault::Kill => world.crash(shared, Crash::Kill),
                Fault::PowerLoss => world.crash(shared, Crash::Power),
                _ => {
                    if let Some(server) = &mut world.server {
                        server.begin_stop(shared);
                    }
                }
            }
        }
        Fault::Cut | Fault::HalfOpen | Fault::BlackHole | Fault::Lag => {
            let alive = world.network.alive();
            if alive.is_empty() {
                return;
            }
            let id = shared.random.pick(&alive);
            shared.counts.count(fault);
            tell!(shared, "network: {} {id} of phone {}", fault.name(), world.network.get(id).phone);
            let soon_us = shared.random.below(100_000);
            let late_us = shared.random.below(100_000_000);
            match fault {
                Fault::Cut => world.network.cut(shared, id, Some(soon_us), Some(soon_us)),
                Fault::HalfOpen => world.network.cut(shared, id, Some(soon_us), Some(late_us)),
                Fault::BlackHole => world.network.cut(shared, id, None, None),
                _ => world.network.lag(id, until_us),
            }
        }
        Fault::SlowReader | Fault::PhoneKilled | Fault::PhoneOff => {
            let index = shared.random.index(world.phones.len());
            shared.counts.count(fault);
            tell!(shared, "phone {index}: {}", fault.name());
            let phone = &mut world.phones[index];
            match fault {
                Fault::SlowReader => phone.not_reading_until_us = until_us,
                Fault::PhoneKilled => phone.kill(shared, &mut world.network),
                _ => phone.switch_off(shared, &mut world.network, until_us),
            }
        }
        Fault::CoreStall | Fault::GatewayStall => {
            let Some(server) = &mut world.server else { return };
            shared.counts.count(fault);
            if fault == Fault::CoreStall {
                let index = shared.random.index(server.cores.len());
                server.cores[index].stalled_until_us = until_us;
            } else {
                let index = shared.random.index(server.gateways.len());
                server.gateways[index].stalled_until_us = until_us;
            }
            tell!(shared, "server: {} until {until_us}", fault.name());
        }
        Fault::ClockJump => {
            shared.counts.count(fault);
            let most_ms = shared.random.pick(&[100, 10_000, 7_200_000]);
            let ms = i64::try_from(shared.random.below(2 * most_ms + 1)).expect("small");
            let by_ms = ms - i64::try_from(most_ms).expect("small");
            // The clock is off by hours at most: tokens and the memory for repeats last longer than that.
            let off_ms = shared.agenda.wall_offset_ms();
            let by_ms = if (off_ms + by_ms).abs() > 7_200_000 { -off_ms } else { by_ms };
            shared.agenda.jump(by_ms);
            tell!(shared, "clock: jumps by {by_ms} ms");
        }
        Fault::WriteError => world.below.disk.armed.write_errors = 1,
        Fault::SyncError => world.below.disk.armed.sync_errors = 1,
        Fault::DiskFull => world.below.disk.armed.full_until_us = until_us,
        Fault::SlowDisk => {
            shared.counts.count(fault);
            world.below.disk.armed.slow_until_us = until_us;
            tell!(shared, "disk: slow until {until_us}");
        }
        Fault::ReadError => {
            shared.counts.count(fault);
            let count = shared.random.between(1, 4);
            world.below.disk.files.fail_reads(u32::try_from(count).expect("small"));
        }
        Fault::StoreError => {
            world.below.store.failing = u32::try_from(shared.random.between(1, 3)).expect("small");
        }
        Fault::BitFlip => world.below.disk.flip_bits(shared),
    }
}
