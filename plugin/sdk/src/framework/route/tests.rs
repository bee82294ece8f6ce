use super::*;
use crate::{Field, FieldType, HandlerResult, Operation, Request};

async fn nothing(_: Arc<()>, _: Request) -> HandlerResult {
    Ok(None)
}

fn route(pattern: &str, fields: &[&str]) -> Result<Route<()>, String> {
    let mut path = Path::new(pattern).operation(Operation::Read, nothing);
    for name in fields {
        path = path.field(Field::new(*name, FieldType::String));
    }
    Route::new(path)
}

fn captured(route: &Route<()>, path: &str, name: &str) -> Option<String> {
    route
        .captures(path)
        .and_then(|found| found.get(name).cloned())
}

#[test]
fn a_pattern_matches_the_whole_path() {
    let route = route("config", &[]).unwrap();
    assert!(route.captures("config").is_some());
    for other in ["", "config/", "xconfig", "config/x", "Config", "config\n"] {
        assert!(route.captures(other).is_none(), "{other:?}");
    }
}

#[test]
fn a_generic_name_is_ascii() {
    let route = route(&format!("roles/{}", generic_name("name")), &["name"]).unwrap();
    for name in ["a", "a-b", "a.b", "A_9", "0", "a--..b"] {
        assert_eq!(
            captured(&route, &format!("roles/{name}"), "name").as_deref(),
            Some(name)
        );
    }
    for name in [
        "", "-a", "a-", ".a", "a.", "a/b", "a b", "é", "aéb", "a@b", "٣",
    ] {
        assert_eq!(
            captured(&route, &format!("roles/{name}"), "name"),
            None,
            "{name:?}"
        );
    }
}

#[test]
fn a_group_that_took_no_part_is_empty_text() {
    let route = route(&format!("x{}", optional_part("rest")), &["rest"]).unwrap();
    assert_eq!(captured(&route, "x", "rest").as_deref(), Some(""));
    assert_eq!(captured(&route, "x/a/b", "rest").as_deref(), Some("a/b"));
}

#[test]
fn a_lone_slash_is_the_empty_path() {
    assert_eq!(normal("/"), "");
    assert_eq!(normal("a/"), "a/");
}

#[test]
fn a_wrong_declaration_says_what_is_wrong() {
    assert!(route("", &[]).err().unwrap().contains("empty pattern"));
    assert!(route("a(", &[]).err().unwrap().contains("does not compile"));
    assert!(route("a/(?P<b>.*)", &[]).err().unwrap().contains("\"b\""));
    let create = Path::<()>::new("a").operation(Operation::Create, nothing);
    assert!(
        Route::new(create)
            .err()
            .unwrap()
            .contains("existence check")
    );
    let documented = Path::<()>::new("a").summary(Operation::Read, "Reads.");
    let defect = Route::new(documented).err().unwrap();
    assert!(defect.contains("operation read"), "{defect}");
}
