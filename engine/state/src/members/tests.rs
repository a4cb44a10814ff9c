//! Laws of the member list.

use super::*;

fn member(id: u64, role: MemberRole) -> Member {
    Member {
        id,
        name: String::new(),
        peer_urls: vec![format!("http://10.0.0.{id}:2380")],
        client_urls: vec![],
        role,
    }
}

fn with(ids: &[u64]) -> Members {
    let mut members = Members::default();
    for id in ids {
        let change = MemberChange::Add(member(*id, MemberRole::Voter));
        assert_eq!(members.check(&change), Ok(()));
        members.make(change);
    }
    members
}

#[test]
fn a_removed_id_never_comes_back() {
    let mut members = with(&[1, 2]);
    members.make(MemberChange::Remove(2));
    let again = MemberChange::Add(member(2, MemberRole::Voter));
    assert_eq!(members.check(&again), Err(ApiError::MemberNotFound));
    assert_eq!(members.check(&MemberChange::Remove(2)), Err(ApiError::MemberNotFound));
    assert_eq!(members.removed().collect::<Vec<_>>(), [2]);
}

#[test]
fn a_peer_url_belongs_to_one_member() {
    let members = with(&[1, 2]);
    let mut stranger = member(3, MemberRole::Voter);
    stranger.peer_urls = members.get(1).expect("added").peer_urls.clone();
    let error = Err(ApiError::PeerUrlExists);
    assert_eq!(members.check(&MemberChange::Add(stranger.clone())), error);
    let steal = MemberChange::UpdatePeerUrls { id: 2, peer_urls: stranger.peer_urls.clone() };
    assert_eq!(members.check(&steal), error);
    let keep = MemberChange::UpdatePeerUrls { id: 1, peer_urls: stranger.peer_urls };
    assert_eq!(members.check(&keep), Ok(()));
}

#[test]
fn only_a_promotion_makes_a_learner_vote() {
    let mut members = with(&[1]);
    members.make(MemberChange::Add(member(2, MemberRole::Learner)));
    members.make(MemberChange::UpdatePeerUrls { id: 2, peer_urls: vec!["http://x:1".into()] });
    let words = MemberAttributes { id: 2, name: "two".into(), client_urls: vec![] };
    assert!(members.describe(words));
    assert_eq!(members.get(2).expect("added").role, MemberRole::Learner);
    assert_eq!(members.check(&MemberChange::Promote(1)), Err(ApiError::MemberNotLearner));
    assert_eq!(members.check(&MemberChange::Promote(2)), Ok(()));
    members.make(MemberChange::Promote(2));
    assert_eq!(members.get(2).expect("added").role, MemberRole::Voter);
    assert_eq!(members.check(&MemberChange::Promote(2)), Err(ApiError::MemberNotLearner));
}

#[test]
fn a_change_is_read_back_as_it_was_written() {
    let changes = [
        MemberChange::Add(member(9, MemberRole::Learner)),
        MemberChange::Remove(4),
        MemberChange::UpdatePeerUrls { id: 5, peer_urls: vec!["http://é:1".into()] },
        MemberChange::Promote(6),
    ];
    for change in changes {
        let bytes = change.encode();
        assert_eq!(MemberChange::decode(&bytes), Ok(change));
        for cut in 0..bytes.len() {
            assert_eq!(MemberChange::decode(&bytes[..cut]), Err(BadMember));
        }
        assert_eq!(MemberChange::decode(&[&bytes[..], &[0]].concat()), Err(BadMember));
    }
    assert_eq!(MemberChange::decode(&[5]), Err(BadMember));
}
