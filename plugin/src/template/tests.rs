use std::collections::BTreeMap;

use vault_plugin_sdk::{Alias, Entity, Group};

use super::{Identity, Template};

fn pairs(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn ada() -> Identity {
    let mut alias = Alias::new("ada@corp");
    alias.id = "alias-1".into();
    alias.mount_accessor = "auth_userpass_1".into();
    alias.metadata = pairs("dept", "r.d");
    alias.custom_metadata = pairs("desk", "12");
    let mut metadata = pairs("team", "red");
    metadata.extend(pairs("a.b", "dotted"));
    metadata.extend(pairs("none", ""));
    metadata.extend(pairs("broken", "a\nb"));
    metadata.extend(pairs("long", &"x".repeat(300)));
    Identity {
        entity: Entity {
            id: "e-1".into(),
            name: "ada".into(),
            aliases: vec![alias],
            metadata,
            ..Entity::default()
        },
        groups: vec![Group {
            id: "g-1".into(),
            name: "night.shift".into(),
            metadata: pairs("cost", "42"),
            ..Group::default()
        }],
    }
}

#[test]
fn each_word_is_resolved_with_text_around() {
    for (template, expected) in [
        ("fixed", "fixed"),
        ("{{identity.entity.id}}", "e-1"),
        ("u-{{ identity.entity.name }}-x", "u-ada-x"),
        ("{{identity.entity.metadata.team}}", "red"),
        ("{{identity.entity.metadata.a.b}}", "dotted"),
        ("{{identity.entity.aliases.auth_userpass_1.id}}", "alias-1"),
        (
            "{{identity.entity.aliases.auth_userpass_1.name}}",
            "ada@corp",
        ),
        (
            "{{identity.entity.aliases.auth_userpass_1.metadata.dept}}",
            "r.d",
        ),
        (
            "{{identity.entity.aliases.auth_userpass_1.custom_metadata.desk}}",
            "12",
        ),
        ("{{identity.groups.names.night.shift.id}}", "g-1"),
        ("{{identity.groups.names.night.shift.metadata.cost}}", "42"),
        ("{{identity.groups.ids.g-1.name}}", "night.shift"),
        ("{{identity.groups.ids.g-1.metadata.cost}}", "42"),
        ("{{identity.entity.name}}{{identity.entity.id}}", "adae-1"),
        // What an answer holds is never a template again.
        ("{ {{identity.entity.name}} }", "{ ada }"),
    ] {
        let parsed = Template::parse(template).unwrap();
        assert_eq!(
            parsed.resolve(Some(&ada())).unwrap(),
            expected,
            "{template}"
        );
        assert_eq!(parsed.asks(), template.contains("{{"), "{template}");
        assert_eq!(
            parsed.asks_about_groups(),
            template.contains("groups"),
            "{template}"
        );
    }
}

#[test]
fn what_has_no_answer_is_refused_with_the_part_that_has_none() {
    for (template, expected) in [
        ("{{identity.entity.metadata.none}}", "no such metadata"),
        (
            "{{identity.entity.metadata.other}}",
            "metadata.other}} can't be resolved",
        ),
        (
            "{{identity.entity.aliases.auth_x.name}}",
            "no alias at that auth mount",
        ),
        (
            "{{identity.entity.aliases.auth_userpass_1.metadata.x}}",
            "the alias has none",
        ),
        ("{{identity.groups.names.day.id}}", "not in that group"),
        (
            "{{identity.groups.ids.g-1.metadata.x}}",
            "the group has none",
        ),
        ("{{identity.entity.metadata.broken}}", "control characters"),
        ("{{identity.entity.metadata.long}}", "longer than 255"),
    ] {
        let error = Template::parse(template)
            .unwrap()
            .resolve(Some(&ada()))
            .unwrap_err();
        assert!(error.contains(expected), "{template}: {error}");
    }
    let error = Template::parse("a-{{identity.entity.id}}")
        .unwrap()
        .resolve(None)
        .unwrap_err();
    assert!(error.contains("no identity entity"), "{error}");
    assert_eq!(Template::parse("a").unwrap().resolve(None).unwrap(), "a");
}

#[test]
fn what_is_no_template_is_refused() {
    let long = "x".repeat(1_025);
    for bad in [
        "{{",
        "}}",
        "{{}}",
        "{{identity.entity.id",
        "identity.entity.id}}",
        "{{identity}}",
        "{{identity.entity}}",
        "{{identity.entity.}}",
        "{{identity.entity.metadata.}}",
        "{{identity.entity.custom_metadata.x}}",
        "{{identity.entity.aliases.x}}",
        "{{identity.entity.aliases..name}}",
        "{{identity.entity.aliases.x.email}}",
        "{{identity.groups.names.x.name}}",
        "{{identity.groups.ids.x.id}}",
        "{{identity.groups.names..id}}",
        "{{identity.groups.x.id}}",
        "{{entity.id}}",
        "{{ {{identity.entity.id}} }}",
        "{{time.now}}",
        "a\nb",
        &long,
    ] {
        assert!(Template::parse(bad).is_err(), "{bad}");
    }
}
