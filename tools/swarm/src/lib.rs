//! tools/swarm
