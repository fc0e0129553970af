#include "plait/api/captioner.h"
#include "plait/models/convert/merge_adapter.h"
#include "python/bindings/calls.h"

namespace plait::python {
namespace {

using api::Captioner;

std::vector<Value> pictures_of(const py::list& pictures) {
  std::vector<Value> out;
  for (const auto& picture : pictures)
    out.push_back(
        to_value(py::reinterpret_borrow<py::object>(picture), Modality::kImage, "picture"));
  return out;
}

}  // namespace

void bind_captions(py::module_& m) {
  py::class_<Captioner, std::shared_ptr<Captioner>>(m, "Captioner")
      .def_static("from_pretrained",
                  [](const std::string& name, const std::string& device, const std::string& dtype) {
                    const auto how = model_options(device, dtype);
                    py::gil_scoped_release release;
                    return Captioner::from_pretrained(name, how);
                  })
      .def("caption",
           [](const Captioner& self, const py::object& picture, const std::string& language,
              const py::dict& options) {
             const Value value = to_value(picture, Modality::kImage, "picture");
             const auto how = api::TextOptions::from_json(to_json(options));
             return written(py::none(), [&](const api::OnPiece& tell) {
               return self.caption(value, language, how, tell);
             });
           })
      .def("ask",
           [](const Captioner& self, const py::object& picture, const std::string& question,
              const py::dict& options) {
             const Value value = to_value(picture, Modality::kImage, "picture");
             const auto how = api::TextOptions::from_json(to_json(options));
             return written(py::none(), [&](const api::OnPiece& tell) {
               return self.ask(value, question, how, tell);
             });
           })
      .def("ask_batch",
           [](const Captioner& self, const py::list& pictures,
              const std::vector<std::string>& questions, const py::dict& options) {
             const std::vector<Value> values = pictures_of(pictures);
             const auto how = api::TextOptions::from_json(to_json(options));
             Json rows = Json::array();
             {
               py::gil_scoped_release release;
               for (const auto& text : self.ask_batch(values, questions, how))
                 rows.push_back(text.to_json());
             }
             return from_json(rows);
           })
      .def("chat",
           [](const Captioner& self, const py::list& messages, const py::list& pictures,
              const py::dict& options) {
             const Json given = to_json(messages);
             const std::vector<Value> values = pictures_of(pictures);
             const auto how = api::TextOptions::from_json(to_json(options));
             return written(py::none(), [&](const api::OnPiece& tell) {
               return self.chat(given, values, how, tell);
             });
           })
      .def("generate",
           [](const Captioner& self, const std::string& prompt, const py::list& pictures,
              const py::dict& options) {
             const std::vector<Value> values = pictures_of(pictures);
             const auto how = api::TextOptions::from_json(to_json(options));
             return written(py::none(), [&](const api::OnPiece& tell) {
               return self.generate(prompt, values, how, tell);
             });
           })
      .def_property_readonly("languages", &Captioner::languages)
      .def_property_readonly("image_token", &Captioner::image_token);
  m.def("merge_adapter",
        [](const std::string& base, const std::string& adapter, const std::string& destination) {
          Json done;
          {
            py::gil_scoped_release release;
            done = models::merge_adapter(base, adapter, destination);
          }
          return from_json(done);
        });
}

}  // namespace plait::python
