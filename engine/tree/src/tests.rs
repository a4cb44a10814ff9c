//! Laws of the whole tree, against dumb twins on a fake disk. The seed is in the panic message.

mod disk;
mod rot;
mod space;
mod twin;
