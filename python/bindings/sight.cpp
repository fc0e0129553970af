#include <ATen/ATen.h>

#include "plait/api/detector_training.h"
#include "plait/api/face_detector.h"
#include "plait/api/image_classifier.h"
#include "plait/api/ocr_reader.h"
#include "plait/api/perception.h"
#include "plait/core/device.h"
#include "plait/train/progress_bar.h"
#include "python/bindings/calls.h"

namespace plait::python {
namespace {

/// What `find` gives for a picture, as a list of dicts; it runs without the GIL.
template <class Find>
py::object list_found(const py::object& image, Find find) {
  Value value = to_value(image, Modality::kImage, "image");
  Json rows = Json::array();
  {
    py::gil_scoped_release release;
    for (const auto& row : find(value)) rows.push_back(row.to_json());
  }
  return from_json(rows);
}

template <class Options>
Options box_options(const Json& json) {
  Options options;
  options.min_score = json.get("min_score", options.min_score);
  options.iou_threshold = json.get("iou_threshold", options.iou_threshold);
  options.limit = json.get("limit", options.limit);
  return options;
}

void bind_detectors(py::module_& m) {
  using api::FaceDetector, api::ImageClassifier, api::ObjectDetector;
  py::class_<ObjectDetector, std::shared_ptr<ObjectDetector>>(m, "ObjectDetector")
      .def_static(
          "from_pretrained",
          [](const std::string& name, const std::string& backend) {
            return ObjectDetector::from_pretrained(name, model_options(backend));
          },
          py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("classes", &ObjectDetector::classes)
      .def("detect", [](const ObjectDetector& self, const py::object& image,
                        const py::dict& given) {
        auto options = box_options<api::DetectOptions>(to_json(given));
        return list_found(image, [&](const Value& value) { return self.detect(value, options); });
      });
  py::class_<FaceDetector, std::shared_ptr<FaceDetector>>(m, "FaceDetector")
      .def_static(
          "from_pretrained",
          [](const std::string& name, const std::string& recognizer, const std::string& backend) {
            return FaceDetector::from_pretrained(name, recognizer, model_options(backend));
          },
          py::call_guard<py::gil_scoped_release>())
      .def("detect", [](const FaceDetector& self, const py::object& image, const py::dict& given) {
        const Json json = to_json(given);
        auto options = box_options<api::FaceOptions>(json);
        options.landmarks = json.get("landmarks", options.landmarks);
        options.embeddings = json.get("embeddings", options.embeddings);
        return list_found(image, [&](const Value& value) { return self.detect(value, options); });
      });
  m.def("face_similarity", &api::face_similarity);
  m.def("train_detector", [](const std::string& annotations, const std::string& pictures,
                             const std::string& output, const py::dict& given, bool progress) {
    const auto recipe = read_config<api::DetectorRecipe>(to_json(given), "train_detector");
    const auto bar = progress ? train::progress_bar() : train::ProgressCallback();
    const train::ProgressCallback tell = [&](const train::Progress& now) {
      {
        py::gil_scoped_acquire acquire;
        throw_if_interrupted();
      }
      return !bar || bar(now);
    };
    Json result;
    {
      py::gil_scoped_release release;
      result = api::train_detector(annotations, pictures, output, recipe, tell);
    }
    return from_json(result);
  });
  py::class_<ImageClassifier, std::shared_ptr<ImageClassifier>>(m, "ImageClassifier")
      .def_static(
          "from_pretrained",
          [](const std::string& name, const std::string& backend) {
            return ImageClassifier::from_pretrained(name, model_options(backend));
          },
          py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("classes", &ImageClassifier::classes)
      .def("classify", [](const ImageClassifier& self, const py::object& image, int64_t top) {
        return list_found(image, [&](const Value& value) { return self.classify(value, top); });
      });
}

}  // namespace

void bind_sight(py::module_& m) {
  using api::OcrReader;
  using models::OnnxGraph;
  py::class_<OnnxGraph, std::shared_ptr<OnnxGraph>>(m, "OnnxGraph")
      .def(py::init([](const std::string& path, const std::string& device) {
             auto graph = std::make_shared<OnnxGraph>(OnnxGraph::load(path));
             graph->to(device_from_string(device));
             return graph;
           }),
           py::call_guard<py::gil_scoped_release>())
      .def("run",
           [](const OnnxGraph& self, const py::dict& inputs) {
             TensorMap in = to_tensors(inputs), out;
             {
               py::gil_scoped_release release;
               out = self.run(in);
             }
             return from_tensors(out);
           })
      .def("save", &OnnxGraph::save, py::call_guard<py::gil_scoped_release>())
      .def("__len__", &OnnxGraph::size)
      .def_property_readonly("inputs", &OnnxGraph::inputs)
      .def_property_readonly("outputs", &OnnxGraph::outputs)
      .def_property_readonly("properties",
                             [](const OnnxGraph& self) { return from_json(self.properties()); });

  py::class_<OcrReader, std::shared_ptr<OcrReader>>(m, "OcrReader")
      .def_static(
          "from_pretrained",
          [](const std::string& name, const std::string& backend) {
            return OcrReader::from_pretrained(name, model_options(backend));
          },
          py::call_guard<py::gil_scoped_release>())
      .def("read", [](const OcrReader& self, const py::object& image, const py::dict& given) {
        Json json = to_json(given);
        api::OcrOptions options;
        options.box_threshold = json.get("box_threshold", options.box_threshold);
        options.unclip_ratio = json.get("unclip_ratio", options.unclip_ratio);
        options.text_score = json.get("text_score", options.text_score);
        options.direction = json.get("direction", options.direction);
        return list_found(image, [&](const Value& value) { return self.read(value, options); });
      });
  bind_detectors(m);

  py::class_<api::Perception, std::shared_ptr<api::Perception>>(m, "Perception")
      .def(py::init([](const py::dict& given) {
        Json json = to_json(given);
        api::PerceptionOptions options;
        options.speech_model = json.get("speech_model", options.speech_model);
        options.ocr_model = json.get("ocr_model", options.ocr_model);
        options.object_model = json.get("object_model", options.object_model);
        options.transcribe.language = json.get("language", options.transcribe.language);
        options.model.backend = json.get("device", options.model.backend);
        return std::make_shared<api::Perception>(options);
      }))
      .def("process",
           [](const api::Perception& self, const py::object& audio, const py::object& image) {
             std::optional<Value> sound, picture;
             if (!audio.is_none()) sound = to_value(audio, Modality::kAudio, "audio");
             if (!image.is_none()) picture = to_value(image, Modality::kImage, "image");
             Json out;
             {
               py::gil_scoped_release release;
               out = self.process(sound, picture).to_json();
             }
             return from_json(out);
           });
}

}  // namespace plait::python
