//! A program that does with the futures of the interface as it likes, and a broker that refuses, cuts
//! off and keeps silent: in virtual time, on one thread.

mod deeds;
mod world;

use self::world::World;
use crate::script::Script;

/// Whatever futures a program polls once, keeps, gives up or never polls, and whatever the broker
/// refuses meanwhile: what was given up before it was written does not happen, what was answered is
/// true and stays so after two more reconnects, nobody who waits waits for one that is not polled, and
/// once all is well, or the client at its end, nobody waits.
pub fn futures(data: &[u8]) {
    let mut world = World::new(Script::new(data));
    while !world.is_over() {
        world.step();
    }
    world.finish();
}
