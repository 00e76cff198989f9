"""The media type of a file, by its name: one table, the same on every machine."""

from __future__ import annotations

UNKNOWN = "application/octet-stream"
_TYPES = """
application/dicom           .dcm .dicom
application/epub+zip        .epub
application/geo+json        .geojson
application/gml+xml         .gml
application/gzip            .gz .tgz .svgz
application/java-archive    .jar
application/json            .json
application/ld+json         .jsonld
application/mbox            .mbox
application/msword          .doc
application/mxf             .mxf
application/n-quads         .nq
application/n-triples       .nt
application/pdf             .pdf
application/postscript      .ps .eps .ai
application/rdf+xml         .rdf .owl
application/rtf             .rtf
application/sql             .sql
application/tei+xml         .tei
application/trig            .trig
application/vnd.google-earth.kml+xml                    .kml
application/vnd.google-earth.kmz                        .kmz
application/vnd.las                                     .las
application/vnd.laszip                                  .laz
application/vnd.ms-excel                                .xls
application/vnd.ms-powerpoint                           .ppt
application/vnd.oasis.opendocument.presentation         .odp
application/vnd.oasis.opendocument.spreadsheet          .ods
application/vnd.oasis.opendocument.text                 .odt
application/vnd.openxmlformats-officedocument.presentationml.presentation   .pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet           .xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document     .docx
application/vnd.sqlite3     .sqlite .sqlite3
application/warc            .warc
application/x-7z-compressed .7z
application/x-bzip2         .bz2 .tbz2
application/x-compress      .z
application/x-hdf5          .h5 .hdf5
application/x-ndjson        .ndjson .jsonl
application/x-netcdf        .nc
application/x-rar-compressed .rar
application/x-tar           .tar
application/x-xz            .xz .txz
application/xhtml+xml       .xhtml
application/xml             .xml .xsd .xsl
application/yaml            .yaml .yml
application/zip             .zip
application/zstd            .zst .tzst
audio/aac                   .aac
audio/flac                  .flac
audio/midi                  .mid .midi
audio/mp4                   .m4a
audio/mpeg                  .mp3 .mp2
audio/ogg                   .oga .ogg .opus .spx
audio/vnd.wave              .wav .bwf
audio/x-aiff                .aif .aiff
audio/x-ms-wma              .wma
font/otf                    .otf
font/ttf                    .ttf
font/woff                   .woff
font/woff2                  .woff2
image/avif                  .avif
image/bmp                   .bmp
image/gif                   .gif
image/heic                  .heic
image/heif                  .heif
image/jp2                   .jp2 .j2k
image/jpeg                  .jpg .jpeg .jpe .jfif
image/jpx                   .jpx .jpf
image/jxl                   .jxl
image/png                   .png
image/svg+xml               .svg
image/tiff                  .tif .tiff
image/vnd.adobe.photoshop   .psd
image/vnd.djvu              .djvu .djv
image/vnd.dwg               .dwg
image/vnd.dxf               .dxf
image/webp                  .webp
image/x-adobe-dng           .dng
image/x-canon-cr2           .cr2
image/x-canon-cr3           .cr3
image/x-exr                 .exr
image/x-icon                .ico
image/x-nikon-nef           .nef
image/x-sony-arw            .arw
message/rfc822              .eml
model/gltf+json             .gltf
model/gltf-binary           .glb
model/iges                  .igs .iges
model/mtl                   .mtl
model/obj                   .obj
model/step                  .stp .step
model/stl                   .stl
model/vnd.collada+xml       .dae
model/vnd.usda              .usda
model/vnd.usdz+zip          .usdz
model/x3d+xml               .x3d
model/3mf                   .3mf
model/x-ply                 .ply
text/css                    .css
text/csv                    .csv
text/html                   .html .htm
text/javascript             .js .mjs
text/markdown               .md .markdown
text/plain                  .txt .text .log .asc
text/tab-separated-values   .tsv .tab
text/turtle                 .ttl
text/vtt                    .vtt
video/3gpp                  .3gp
video/matroska              .mkv
video/mp4                   .mp4 .m4v
video/mpeg                  .mpg .mpeg .mpe .m2v
video/ogg                   .ogv
video/quicktime             .mov .qt
video/webm                  .webm
video/x-flv                 .flv
video/x-ms-wmv              .wmv
video/x-msvideo             .avi
"""
_BY_SUFFIX = {suffix: kind for kind, *suffixes in map(str.split, _TYPES.strip().splitlines()) for suffix in suffixes}


def media_type(filename: str) -> str:
    """The media type of the bytes of a file; of a compressed one it does not say what is inside."""
    name, _, suffix = filename.rpartition(".")
    return _BY_SUFFIX.get(f".{suffix.lower()}", UNKNOWN) if name else UNKNOWN
