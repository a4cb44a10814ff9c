//! Laws of the whole tree, against dumb twins on a fake disk. The seed is in the panic message.

mod checkpoint;
mod disk;
mod golden;
mod rot;
mod space;
mod twin;
