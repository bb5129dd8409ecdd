use crate::convert::{context::Context, model::Reply, read::Reader, write::Writer};

pub(in crate::convert) fn read_reply<'a>(json: &mut Reader<'a>) -> Reply<'a> {
    let _ = json;
    todo!()
}

pub(in crate::convert) fn write_reply(reply: &Reply<'_>, context: &Context, to: &mut Writer<'_>) {
    let _ = (reply, context, to);
    todo!()
}
