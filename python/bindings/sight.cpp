#include <ATen/ATen.h>

#include "plait/api/ocr_reader.h"
#include "plait/core/device.h"
#include "python/bindings/common.h"

namespace plait::python {

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
            api::ModelOptions how;
            how.backend = backend;
            return OcrReader::from_pretrained(name, how);
          },
          py::call_guard<py::gil_scoped_release>())
      .def("read", [](const OcrReader& self, const py::object& image, const py::dict& given) {
        Json json = to_json(given);
        api::OcrOptions options;
        options.box_threshold = json.get("box_threshold", options.box_threshold);
        options.unclip_ratio = json.get("unclip_ratio", options.unclip_ratio);
        options.text_score = json.get("text_score", options.text_score);
        options.direction = json.get("direction", options.direction);
        Value value = to_value(image, Modality::kImage, "image");
        Json lines = Json::array();
        {
          py::gil_scoped_release release;
          for (const api::OcrLine& line : self.read(value, options))
            lines.push_back(line.to_json());
        }
        return from_json(lines);
      });
}

}  // namespace plait::python
