#include <ATen/ATen.h>

#include "plait/core/error.h"
#include "plait/data/video/video.h"
#include "plait/models/encoders/temporal_video.h"
#include "python/bindings/common.h"

namespace plait::python {
namespace {

using data::VideoReader;
using models::VideoStream;

/// (uint8 [H, W, 3], seconds), or None at the end.
py::object from_frame(const std::optional<data::VideoFrame>& frame) {
  if (!frame) return py::none();
  return py::make_tuple(frame->pixels, frame->seconds);
}

std::shared_ptr<VideoReader> open_reader(const py::object& source, const py::dict& given) {
  Json json = to_json(given);
  data::VideoOptions options;
  options.frames_per_second = json.get("frames_per_second", options.frames_per_second);
  options.threads = json.get("threads", options.threads);
  Value value = to_value(source, Modality::kVideo, "video");
  py::gil_scoped_release release;
  if (auto* bytes = std::get_if<Bytes>(&value))
    return std::make_shared<VideoReader>(
        VideoReader::from_bytes(std::move(bytes->bytes), "video", options));
  const auto* path = std::get_if<Path>(&value);
  const auto* text = std::get_if<std::string>(&value);
  require(path || text, "video", "expected a path or bytes");
  return std::make_shared<VideoReader>(VideoReader::open(path ? path->path : *text, options));
}

}  // namespace

void bind_video(py::module_& m) {
  py::class_<VideoReader, std::shared_ptr<VideoReader>>(m, "VideoReader")
      .def(py::init(&open_reader))
      .def("next",
           [](VideoReader& self) {
             std::optional<data::VideoFrame> frame;
             {
               py::gil_scoped_release release;
               frame = self.next();
             }
             return from_frame(frame);
           })
      .def("seek", &VideoReader::seek, py::call_guard<py::gil_scoped_release>())
      .def("sample",
           [](VideoReader& self, int64_t count) {
             std::vector<data::VideoFrame> frames;
             {
               py::gil_scoped_release release;
               frames = data::sample_frames(self, count);
             }
             py::list out;
             for (const data::VideoFrame& frame : frames) out.append(from_frame(frame));
             return out;
           })
      .def_property_readonly("info", [](const VideoReader& self) {
        const data::VideoInfo& info = self.info();
        return from_json(Json::object({{"width", info.width},
                                       {"height", info.height},
                                       {"seconds", info.seconds},
                                       {"frames_per_second", info.frames_per_second},
                                       {"frames", info.frames},
                                       {"codec", info.codec}}));
      });

  py::class_<VideoStream>(m, "VideoStream")
      .def(py::init([](const std::shared_ptr<models::Model>& model) {
        auto video = std::dynamic_pointer_cast<models::TemporalVideo>(model);
        require(video != nullptr, "video stream", "expected a model of type temporal_video");
        return std::make_unique<VideoStream>(video);
      }))
      .def("push",
           [](VideoStream& self, const at::Tensor& frame) {
             VideoStream::Output out;
             {
               py::gil_scoped_release release;
               out = self.push(frame);
             }
             return py::make_tuple(out.token, out.pooled);
           })
      .def("reset", &VideoStream::reset)
      .def_property_readonly("frames", &VideoStream::frames);
}

}  // namespace plait::python
