//! Values of Rust as the plain objects of the worker's messages (their list is `web/messages.md`).

use js_sys::{Array, Float32Array, Object, Reflect, Uint8Array, Uint8ClampedArray};
use motion_view::Picture;
use wasm_bindgen::JsValue;
use web_sys::ImageBitmap;

use crate::{Error, Result};

/// A plain object.
pub fn object(entries: impl IntoIterator<Item = (&'static str, JsValue)>) -> JsValue {
    let object = Object::new();
    for (name, value) in entries {
        // Setting a new property of a plain object cannot fail.
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object.into()
}

/// An array of anything.
pub fn array<T: Into<JsValue>>(values: impl IntoIterator<Item = T>) -> JsValue {
    values.into_iter().map(Into::into).collect::<Array>().into()
}

/// An array of texts.
pub fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> JsValue {
    array(values.into_iter().map(|text| JsValue::from_str(text.as_ref())))
}

/// `{width, height, rgba}`.
pub fn picture(picture: &Picture) -> JsValue {
    object([
        ("width", picture.width.into()),
        ("height", picture.height.into()),
        ("rgba", Uint8ClampedArray::from(&picture.rgba[..]).into()),
    ])
}

/// A part of a picture that the graphics card drew, `{width, height, bitmap, x, y}`.
pub fn part(bitmap: &ImageBitmap, [x, y]: [usize; 2], [width, height]: [usize; 2]) -> JsValue {
    object([
        ("width", width.into()),
        ("height", height.into()),
        ("bitmap", bitmap.into()),
        ("x", x.into()),
        ("y", y.into()),
    ])
}

/// Numbers in one buffer.
pub fn floats(values: &[f32]) -> JsValue {
    Float32Array::from(values).into()
}

/// `{name, mime, bytes}`.
pub fn file(name: &str, mime: &str, bytes: &[u8]) -> JsValue {
    object([("name", name.into()), ("mime", mime.into()), ("bytes", Uint8Array::from(bytes).into())])
}

/// A number of a message, if it is there.
///
/// # Errors
/// [`Error::Message`] when something else stands in its place.
pub fn number(message: &JsValue, what: &'static str) -> Result<Option<f64>> {
    let value = Reflect::get(message, &what.into()).unwrap_or_default();
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    let wrong = || Error::Message { what, found: format!("{value:?}"), expected: "a number" };
    value.as_f64().map(Some).ok_or_else(wrong)
}

/// A text of a message, if it is there.
pub fn text(message: &JsValue, what: &'static str) -> Option<String> {
    Reflect::get(message, &what.into()).ok()?.as_string()
}
