//! tmp
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let resume = std::env::args().nth(2).is_some();
    match motion_train::train(std::path::Path::new(&path), resume) {
        Ok(r) => println!("{}", serde_json::to_string(&r).unwrap()),
        Err(e) => println!("ERR {e}"),
    }
}
