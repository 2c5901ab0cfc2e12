//! Contract suites of the ports, and the harness for the real services. A development dependency only.

pub mod contract;
pub mod contract_graph;
pub mod services;

/// Makes a test of each rule of a suite, with a value of its own from `$open`.
///
/// `$open` is an async function whose value derefs to what the rules take, and keeps alive what that
/// needs, such as a temporary directory.
#[macro_export]
macro_rules! contract_tests {
    ($suite:path, $open:path; $($rule:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $rule() {
            use $suite as suite;
            suite::$rule(&*$open().await).await;
        })+
    };
}
