//! Tables in all formats, and what lies in them.

use super::Corpora;
use arrow_array::{RecordBatch, cast::AsArray};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use bytes::Bytes;
use image::{DynamicImage, ImageFormat, RgbImage};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{
    error::Error,
    io::{self, Cursor},
};

/// Rows of a table that is written in another format.
const ROWS: usize = 12;

fn batches(file: &[u8]) -> Result<Vec<RecordBatch>, Box<dyn Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(file))?.build()?;
    Ok(reader.collect::<Result<_, _>>()?)
}

/// The models among the operators' cases.
pub fn models(file: &[u8]) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut found = Vec::new();
    for batch in batches(file)? {
        let column = |name| batch.column_by_name(name).ok_or("a column is missing");
        let (kinds, data) = (column("kind")?.as_string::<i32>(), column("data")?.as_binary::<i32>());
        let models = kinds.iter().zip(data).filter(|(kind, _)| *kind == Some("model"));
        found.extend(models.filter_map(|(_, data)| data.map(<[u8]>::to_vec)));
    }
    Ok(found)
}

/// A table as it is, and its first rows as Arrow IPC; the images in it as images.
pub fn rows(corpora: &Corpora, file: &[u8]) -> Result<(), Box<dyn Error>> {
    let batches = batches(file)?;
    let first = batches.first().ok_or("no rows")?;
    let which = match first.schema() {
        schema if schema.column_with_name("input_ids").is_some() => 1,
        schema if schema.column_with_name("image").is_some() => 2,
        _ => 0,
    };
    let add = |bytes: &[u8]| corpora.add("table", &[&[which], bytes].concat());
    add(file)?;
    let few = first.slice(0, first.num_rows().min(ROWS));
    let mut writer = FileWriter::try_new(Vec::new(), &few.schema())?;
    writer.write(&few)?;
    add(&writer.into_inner()?)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &few.schema())?;
    writer.write(&few)?;
    add(&writer.into_inner()?)?;
    if let Some(images) = few.column_by_name("image").and_then(|column| column.as_struct_opt()) {
        let bytes = images.column_by_name("bytes").ok_or("no bytes")?.as_binary::<i32>();
        bytes.iter().flatten().take(3).try_for_each(|bytes| corpora.add("image", bytes))?;
    }
    Ok(())
}

/// Tables as text.
pub fn texts(corpora: &Corpora) -> io::Result<()> {
    let wide = "id,a,b,c,d,e,f,label\n1,0.5,1,2,3,4,5,1\n2,-1e3,,7,\"8\",9,10,0\n3,1,1,1,1,1,1,3\n";
    let json = "{\"id\": 1, \"x\": [1, 2.5, 3, 4, 5, 6], \"label\": 2}\n{\"id\": 2, \"x\": [0, 0, 0, 0, 0, 0], \"label\": 0}\n";
    let list = "[\"a\", \"b\", \"c\"]";
    let nested = "[{\"id\": \"u\", \"input_ids\": [1, 2, 3], \"attention_mask\": [1, 1, 0], \"label\": \"yes\"}]";
    for (which, text) in [
        (0, wide.to_string()),
        (0, wide.replace(',', "\t")),
        (0, wide.replace(',', ";").replace('\n', "\r\n")),
        (0, json.into()),
        (1, list.into()),
        (1, nested.into()),
        (0, "id\n1\n2\n3\n".into()),
        (2, "id|image|label\n1|a.png|0\n".into()),
    ] {
        corpora.add("table", &[&[which], text.as_bytes()].concat())?;
    }
    Ok(())
}

/// A small image in all formats, with 8 and 16 bits.
pub fn images(corpora: &Corpora) -> Result<(), Box<dyn Error>> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    let pixels = RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, (x * y) as u8]));
    let image = DynamicImage::ImageRgb8(pixels);
    let kinds = [
        (image.clone(), vec![Bmp, Gif, Jpeg, Png, Tiff, WebP]),
        (image.to_luma8().into(), vec![Bmp, Jpeg, Png, Tiff]),
        (image.to_rgba8().into(), vec![Bmp, Png, Tiff, WebP]),
        (image.to_rgb16().into(), vec![Png, Tiff]),
        (image.to_luma16().into(), vec![Png, Tiff]),
    ];
    for (image, formats) in kinds {
        for format in formats {
            let mut bytes = Cursor::new(Vec::new());
            image.write_to(&mut bytes, format)?;
            corpora.add("image", bytes.get_ref())?;
        }
    }
    Ok(())
}
