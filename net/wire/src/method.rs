//! Owns the list of methods that a member serves: path, kind, and what to say to other paths.
//! Invariant: it lists exactly the methods of the proto files (held against them by a test).

use crate::status::{Code, Status};

/// How many messages go each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One request, one reply.
    Unary,
    /// One request, any number of replies.
    ServerStream,
    /// Any number each way.
    Bidi,
}

impl Kind {
    /// The `grpc_type` label of etcd's metrics.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Unary => "unary",
            Kind::ServerStream => "server_stream",
            Kind::Bidi => "bidi_stream",
        }
    }
}

macro_rules! methods {
    ($($variant:ident = $service:literal / $method:literal, $kind:ident;)+) => {
        /// One method of the client port.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // Each is named for its path, in the table below.
        pub enum Method {
            $($variant,)+
        }

        impl Method {
            /// Every method, in the order of the services.
            pub const ALL: &'static [Method] = &[$(Method::$variant,)+];

            /// `/service/method`.
            pub fn path(self) -> &'static str {
                match self {
                    $(Method::$variant => concat!("/", $service, "/", $method),)+
                }
            }

            /// The service, with its package.
            pub fn service(self) -> &'static str {
                match self {
                    $(Method::$variant => $service,)+
                }
            }

            /// The name within the service.
            pub fn name(self) -> &'static str {
                match self {
                    $(Method::$variant => $method,)+
                }
            }

            /// How many messages go each way.
            pub fn kind(self) -> Kind {
                match self {
                    $(Method::$variant => Kind::$kind,)+
                }
            }

            fn find(path: &str) -> Option<Method> {
                match path {
                    $(concat!("/", $service, "/", $method) => Some(Method::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

methods! {
    Range = "etcdserverpb.KV" / "Range", Unary;
    RangeStream = "etcdserverpb.KV" / "RangeStream", ServerStream;
    Put = "etcdserverpb.KV" / "Put", Unary;
    DeleteRange = "etcdserverpb.KV" / "DeleteRange", Unary;
    Txn = "etcdserverpb.KV" / "Txn", Unary;
    Compact = "etcdserverpb.KV" / "Compact", Unary;
    Watch = "etcdserverpb.Watch" / "Watch", Bidi;
    LeaseGrant = "etcdserverpb.Lease" / "LeaseGrant", Unary;
    LeaseRevoke = "etcdserverpb.Lease" / "LeaseRevoke", Unary;
    LeaseKeepAlive = "etcdserverpb.Lease" / "LeaseKeepAlive", Bidi;
    LeaseTimeToLive = "etcdserverpb.Lease" / "LeaseTimeToLive", Unary;
    LeaseLeases = "etcdserverpb.Lease" / "LeaseLeases", Unary;
    MemberAdd = "etcdserverpb.Cluster" / "MemberAdd", Unary;
    MemberRemove = "etcdserverpb.Cluster" / "MemberRemove", Unary;
    MemberUpdate = "etcdserverpb.Cluster" / "MemberUpdate", Unary;
    MemberList = "etcdserverpb.Cluster" / "MemberList", Unary;
    MemberPromote = "etcdserverpb.Cluster" / "MemberPromote", Unary;
    Alarm = "etcdserverpb.Maintenance" / "Alarm", Unary;
    Status = "etcdserverpb.Maintenance" / "Status", Unary;
    Defragment = "etcdserverpb.Maintenance" / "Defragment", Unary;
    Hash = "etcdserverpb.Maintenance" / "Hash", Unary;
    HashKv = "etcdserverpb.Maintenance" / "HashKV", Unary;
    Snapshot = "etcdserverpb.Maintenance" / "Snapshot", ServerStream;
    MoveLeader = "etcdserverpb.Maintenance" / "MoveLeader", Unary;
    Downgrade = "etcdserverpb.Maintenance" / "Downgrade", Unary;
    AuthEnable = "etcdserverpb.Auth" / "AuthEnable", Unary;
    AuthDisable = "etcdserverpb.Auth" / "AuthDisable", Unary;
    AuthStatus = "etcdserverpb.Auth" / "AuthStatus", Unary;
    Authenticate = "etcdserverpb.Auth" / "Authenticate", Unary;
    UserAdd = "etcdserverpb.Auth" / "UserAdd", Unary;
    UserGet = "etcdserverpb.Auth" / "UserGet", Unary;
    UserList = "etcdserverpb.Auth" / "UserList", Unary;
    UserDelete = "etcdserverpb.Auth" / "UserDelete", Unary;
    UserChangePassword = "etcdserverpb.Auth" / "UserChangePassword", Unary;
    UserGrantRole = "etcdserverpb.Auth" / "UserGrantRole", Unary;
    UserRevokeRole = "etcdserverpb.Auth" / "UserRevokeRole", Unary;
    RoleAdd = "etcdserverpb.Auth" / "RoleAdd", Unary;
    RoleGet = "etcdserverpb.Auth" / "RoleGet", Unary;
    RoleList = "etcdserverpb.Auth" / "RoleList", Unary;
    RoleDelete = "etcdserverpb.Auth" / "RoleDelete", Unary;
    RoleGrantPermission = "etcdserverpb.Auth" / "RoleGrantPermission", Unary;
    RoleRevokePermission = "etcdserverpb.Auth" / "RoleRevokePermission", Unary;
    Lock = "v3lockpb.Lock" / "Lock", Unary;
    Unlock = "v3lockpb.Lock" / "Unlock", Unary;
    Campaign = "v3electionpb.Election" / "Campaign", Unary;
    Proclaim = "v3electionpb.Election" / "Proclaim", Unary;
    Leader = "v3electionpb.Election" / "Leader", Unary;
    Observe = "v3electionpb.Election" / "Observe", ServerStream;
    Resign = "v3electionpb.Election" / "Resign", Unary;
    HealthCheck = "grpc.health.v1.Health" / "Check", Unary;
    HealthList = "grpc.health.v1.Health" / "List", Unary;
    HealthWatch = "grpc.health.v1.Health" / "Watch", ServerStream;
}

impl Method {
    /// The method at `path`, or how to refuse the call.
    pub fn from_path(path: &str) -> Result<Method, Status> {
        match Method::find(path) {
            Some(method) => Ok(method),
            None => Err(refuse(path)),
        }
    }
}

/// gRPC for Go's three refusals: no slash inside, no such service, no such method.
fn refuse(path: &str) -> Status {
    let text = match path.strip_prefix('/').unwrap_or(path).rsplit_once('/') {
        None => format!("malformed method name: {path:?}"),
        Some((service, method)) => {
            if Method::ALL.iter().any(|known| known.service() == service) {
                format!("unknown method {method} for service {service}")
            } else {
                format!("unknown service {service}")
            }
        }
    };
    Status::new(Code::Unimplemented, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_proto_files() {
        let listed = include_str!(concat!(env!("OUT_DIR"), "/methods.txt"));
        let mut listed: Vec<_> = listed.lines().map(str::to_owned).collect();
        let line = |method: &Method| {
            let (client, server) = match method.kind() {
                Kind::Unary => (false, false),
                Kind::ServerStream => (false, true),
                Kind::Bidi => (true, true),
            };
            format!("{} {client} {server}", method.path())
        };
        let mut ours: Vec<_> = Method::ALL.iter().map(line).collect();
        listed.sort();
        ours.sort();
        assert_eq!(ours, listed);
    }

    #[test]
    fn a_path_finds_its_method() {
        for &method in Method::ALL {
            assert_eq!(Method::from_path(method.path()), Ok(method));
        }
    }

    #[test]
    fn other_paths_are_unimplemented_in_words_that_clients_know() {
        let text = |path| {
            let status = Method::from_path(path).unwrap_err();
            assert_eq!(status.code, Code::Unimplemented);
            status.message.into_owned()
        };
        assert_eq!(
            text("/etcdserverpb.KV/Nope"),
            "unknown method Nope for service etcdserverpb.KV"
        );
        assert_eq!(text("/foo.Bar/Baz"), "unknown service foo.Bar");
        assert_eq!(text("/nothing"), "malformed method name: \"/nothing\"");
        assert_eq!(text(""), "malformed method name: \"\"");
    }
}
