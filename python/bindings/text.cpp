#include <atomic>

#include "plait/api/text_generator.h"
#include "plait/core/error.h"
#include "python/bindings/calls.h"

namespace plait::python {
namespace {

using api::TextGenerator;

}  // namespace

void bind_text(py::module_& m) {
  py::class_<TextGenerator, std::shared_ptr<TextGenerator>>(m, "TextGenerator")
      .def_static("from_pretrained",
                  [](const std::string& name, const std::string& device, const std::string& dtype) {
                    const auto how = model_options(device, dtype);
                    py::gil_scoped_release release;
                    return TextGenerator::from_pretrained(name, how);
                  })
      .def("generate",
           [](const TextGenerator& self, const std::string& prompt, const py::dict& options,
              const py::object& on_piece) {
             const auto how = api::TextOptions::from_json(to_json(options));
             return written(on_piece, [&](const api::OnPiece& tell) {
               return self.generate(prompt, how, tell);
             });
           })
      .def("generate_batch",
           [](const TextGenerator& self, const std::vector<std::string>& prompts,
              const py::dict& options) {
             const auto how = api::TextOptions::from_json(to_json(options));
             Json rows = Json::array();
             {
               py::gil_scoped_release release;
               for (const auto& text : self.generate_batch(prompts, how))
                 rows.push_back(text.to_json());
             }
             return from_json(rows);
           })
      .def("merge_adapter", &TextGenerator::merge_adapter, py::call_guard<py::gil_scoped_release>())
      .def("chat",
           [](const TextGenerator& self, const py::list& messages, const py::dict& options,
              const py::object& on_piece) {
             const Json given = to_json(messages);
             const auto how = api::TextOptions::from_json(to_json(options));
             return written(on_piece,
                            [&](const api::OnPiece& tell) { return self.chat(given, how, tell); });
           })
      .def("apply_chat_template",
           [](const TextGenerator& self, const py::list& messages, const py::dict& variables,
              bool add_generation_prompt) {
             return self.apply_chat_template(to_json(messages), to_json(variables),
                                             add_generation_prompt);
           })
      .def("encode",
           [](const TextGenerator& self, const std::string& text, bool add_special_tokens) {
             return self.tokenizer()
                 ->encode(
                     text,
                     {.add_special_tokens = add_special_tokens, .max_length = 0, .padding = false})
                 .ids;
           })
      .def("decode", [](const TextGenerator& self, const std::vector<int64_t>& ids,
                        bool skip_special) { return self.tokenizer()->decode(ids, skip_special); })
      .def_property_readonly("has_chat_template", &TextGenerator::has_chat_template)
      .def_property_readonly(
          "config", [](const TextGenerator& self) { return from_json(self.decoder()->config()); });
  m.def("render_template", [](const std::string& source, const py::dict& variables) {
    return data::ChatTemplate::parse(source)->render(to_json(variables));
  });
  m.def("generate_options", [] { return from_json(config_schema<runtime::GenerateOptions>()); });
}

}  // namespace plait::python
