use super::*;

const VALUE: &str = "6669da05-b1c8-4f49-97d9-c8e5bed98e20";

fn check(vars: &[(&str, &str)]) -> Result<Plan, Refusal> {
    plan(|name| {
        vars.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn host(extra: &[(&str, &str)]) -> Result<Plan, Refusal> {
    let mut vars = vec![("VAULT_BACKEND_PLUGIN", VALUE)];
    vars.extend(extra);
    check(&vars)
}

#[test]
fn only_the_exact_cookie_is_a_host() {
    for vars in [
        &[][..],
        &[("VAULT_BACKEND_PLUGIN", "")],
        &[("VAULT_BACKEND_PLUGIN", "6669da05")],
        &[(
            "VAULT_BACKEND_PLUGIN",
            "6669DA05-B1C8-4F49-97D9-C8E5BED98E20",
        )],
        &[
            ("PLUGIN_PROTOCOL_VERSIONS", "5"),
            ("PLUGIN_CLIENT_CERT", "pem"),
        ],
    ] {
        assert_eq!(check(vars), Err(Refusal::ByHand), "{vars:?}");
    }
}

#[test]
fn version_five_without_tls_is_refused_unless_it_is_metadata_mode() {
    assert_eq!(
        host(&[("PLUGIN_PROTOCOL_VERSIONS", "5")]),
        Err(Refusal::NoAutoMtls)
    );
    let metadata = [
        ("PLUGIN_PROTOCOL_VERSIONS", "5"),
        ("VAULT_PLUGIN_METADATA_MODE", "true"),
    ];
    let plan = host(&metadata).unwrap();
    assert!(plan.metadata_mode);
    assert_eq!(line(&plan, "/tmp/p", ""), "1|5|unix|/tmp/p|grpc|");
}

#[test]
fn versions_come_in_any_order_and_with_junk() {
    for versions in ["5", "4,5,3", " 5 ", "x,,5,-1,99999999999999999999"] {
        let vars = [("PLUGIN_PROTOCOL_VERSIONS", versions)];
        assert_eq!(
            host(&vars),
            Err(Refusal::NoAutoMtls),
            "{versions:?} offers version 5"
        );
    }
    for versions in ["", "3,4", "55", "5.0", "five"] {
        let plan = host(&[("PLUGIN_PROTOCOL_VERSIONS", versions)]).unwrap();
        assert_eq!(
            line(&plan, "/tmp/p", ""),
            "1|5|unix|/tmp/p|grpc|",
            "{versions:?}"
        );
        assert!(
            plan.metadata_mode,
            "nothing that could carry a secret goes without TLS"
        );
    }
}

#[test]
fn the_seventh_field_is_only_for_hosts_that_ask() {
    let tls = [
        ("PLUGIN_PROTOCOL_VERSIONS", "5"),
        ("PLUGIN_CLIENT_CERT", "pem"),
    ];
    let plan = host(&tls).unwrap();
    assert!(!plan.metadata_mode);
    assert_eq!(line(&plan, "/tmp/p", "MIIB"), "1|5|unix|/tmp/p|grpc|MIIB");
    for value in ["true", ""] {
        let mut vars = tls.to_vec();
        vars.push(("PLUGIN_MULTIPLEX_GRPC", value));
        let plan = host(&vars).unwrap();
        assert_eq!(
            line(&plan, "/tmp/p", "MIIB"),
            "1|5|unix|/tmp/p|grpc|MIIB|false"
        );
    }
}

#[test]
fn the_socket_goes_where_the_host_wants_it() {
    let plan = host(&[
        ("PLUGIN_CLIENT_CERT", "pem"),
        ("PLUGIN_UNIX_SOCKET_DIR", "/run/x"),
        ("PLUGIN_UNIX_SOCKET_GROUP", "vault"),
        ("VAULT_PLUGIN_MLOCK_ENABLED", "true"),
    ])
    .unwrap();
    assert_eq!(plan.socket_dir, Some(PathBuf::from("/run/x")));
    assert_eq!(plan.socket_group.as_deref(), Some("vault"));
    assert!(plan.mlock);
    let plain = host(&[
        ("PLUGIN_CLIENT_CERT", "pem"),
        ("PLUGIN_UNIX_SOCKET_DIR", ""),
        ("VAULT_PLUGIN_MLOCK_ENABLED", "false"),
    ])
    .unwrap();
    assert_eq!((plain.socket_dir, plain.mlock), (None, false));
}
