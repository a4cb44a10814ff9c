//! The file gives back what is no longer needed.

use bytes::Bytes;

use super::disk::{Rig, entry};

fn key(number: u32) -> Bytes {
    Bytes::from(format!("key/{number:08}"))
}

#[test]
fn loading_in_order_fills_pages_to_nineteen_parts_of_twenty() {
    let mut rig = Rig::new(1 << 30);
    let value = Bytes::from(vec![7; 256]);
    for number in 0..20_000 {
        rig.put(&key(number), &entry(1, value.clone())).expect("no rot");
    }
    rig.checkpoint();
    let payload = 20_000 * (44 + 12 + 256);
    let used = rig.tree.space().used_bytes;
    assert!(used * 95 <= payload * 100, "used {used} for {payload}");
}
