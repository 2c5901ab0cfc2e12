//! Files that are made from the code and kept in the repository.

use tidings_server::{config, http};

fn assert_current(path: &str, generated: &str) {
    let kept = std::fs::read_to_string(format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR")));
    let current = kept.is_ok_and(|kept| kept == generated);
    assert!(current, "{path} is stale: run `cargo xtask generate` and commit it");
}

#[test]
fn the_openapi_description_is_that_of_the_routes() {
    assert_current("api/openapi.json", &http::openapi_json().unwrap());
}

#[test]
fn the_configuration_reference_is_that_of_the_default_file() {
    assert_current("docs/configuration.md", &config::reference_markdown());
}
