#include "plait/data/text/post_processors.h"

#include <algorithm>
#include <map>

#include "plait/core/error.h"

namespace plait::data {
namespace {

/// BERT: [CLS] A [SEP] B [SEP]. RoBERTa: <s> A </s> </s> B </s>, all of type 0.
class ClsSep : public PostProcessor {
 public:
  ClsSep(const Json& json, bool roberta)
      : cls_(json.at("cls").at(size_t{1}).as_int()),
        sep_(json.at("sep").at(size_t{1}).as_int()),
        roberta_(roberta) {
    if (roberta && json.get("trim_offsets", true)) trim_ = true;
    prefix_space_ = json.get("add_prefix_space", true);
  }
  size_t added(bool pair) const override { return !pair ? 2 : roberta_ ? 4 : 3; }
  void trims(std::vector<bool>& prefix_space) const override {
    if (trim_) prefix_space.push_back(prefix_space_);
  }
  std::vector<Encoding> process(std::vector<Encoding> encodings, bool add_special) const override {
    for (size_t i = 0; i < encodings.size(); ++i) {
      Encoding& encoding = encodings[i];
      if (roberta_) std::fill(encoding.type_ids.begin(), encoding.type_ids.end(), 0);
      if (!add_special) continue;
      Encoding out;
      int64_t type = roberta_ || i == 0 ? 0 : 1;
      if (i == 0) append_token(out, cls_, type, {0, 0}, true);
      if (i > 0 && roberta_) append_token(out, sep_, type, {0, 0}, true);
      append_encoding(out, encoding);
      append_token(out, sep_, type, {0, 0}, true);
      encoding = std::move(out);
    }
    return encodings;
  }

 private:
  int64_t cls_, sep_;
  bool roberta_, trim_ = false, prefix_space_ = true;
};

class Template : public PostProcessor {
 public:
  Template(const Json& json, const std::string& where) {
    for (const auto& [name, token] : json.at("special_tokens").members())
      specials_[name] = token.at("ids").as_ints();
    single_ = read(json.at("single"), where + ".single", 1);
    pair_ = read(json.at("pair"), where + ".pair", 2);
  }
  size_t added(bool pair) const override {
    size_t count = 0;
    for (const Item& item : pair ? pair_ : single_) count += item.special ? item.ids.size() : 0;
    return count;
  }
  std::vector<Encoding> process(std::vector<Encoding> encodings, bool add_special) const override {
    std::vector<Encoding> out;
    for (const Item& item : encodings.size() == 2 ? pair_ : single_) {
      if (!item.special) {
        Encoding copy = encodings[item.sequence];
        std::fill(copy.type_ids.begin(), copy.type_ids.end(), item.type_id);
        out.push_back(std::move(copy));
      } else if (add_special) {
        Encoding tokens;
        for (int64_t id : item.ids) append_token(tokens, id, item.type_id, {0, 0}, true);
        out.push_back(std::move(tokens));
      }
    }
    return out;
  }

 private:
  struct Item {
    bool special = false;
    size_t sequence = 0;
    int64_t type_id = 0;
    std::vector<int64_t> ids;
  };

  std::vector<Item> read(const Json& json, const std::string& where, size_t sequences) const {
    std::vector<Item> items;
    if (json.size() > 1000)
      fail(ErrorCode::kCorruptData, "tokenizer",
           "expected at most 1000 template items at " + where);
    for (const Json& part : json.items()) {
      Item item;
      if (const Json* special = part.find("SpecialToken")) {
        item.special = true;
        item.type_id = special->at("type_id").as_int();
        auto found = specials_.find(special->at("id").as_string());
        if (found == specials_.end()) {
          fail(ErrorCode::kCorruptData, "tokenizer",
               "expected \"" + special->at("id").as_string() + "\" among the special_tokens, at " +
                   where);
        }
        item.ids = found->second;
      } else {
        const Json& sequence = part.at("Sequence");
        item.sequence = sequence.at("id").as_string() == "A" ? 0 : 1;
        item.type_id = sequence.at("type_id").as_int();
        if (item.sequence >= sequences) {
          fail(ErrorCode::kCorruptData, "tokenizer",
               "expected sequence A only at " + where + ", got B");
        }
      }
      items.push_back(std::move(item));
    }
    return items;
  }

  std::map<std::string, std::vector<int64_t>> specials_;
  std::vector<Item> single_, pair_;
};

class ByteLevel : public PostProcessor {
 public:
  explicit ByteLevel(const Json& json)
      : trim_(json.get("trim_offsets", true)), prefix_space_(json.get("add_prefix_space", true)) {}
  size_t added(bool) const override { return 0; }
  std::vector<Encoding> process(std::vector<Encoding> encodings, bool) const override {
    return encodings;
  }
  void trims(std::vector<bool>& prefix_space) const override {
    if (trim_) prefix_space.push_back(prefix_space_);
  }

 private:
  bool trim_, prefix_space_;
};

class Sequence : public PostProcessor {
 public:
  Sequence(const Json& json, const std::string& where) {
    const Json::Array& items = json.at("processors").items();
    for (size_t i = 0; i < items.size(); ++i) {
      if (auto part =
              make_post_processor(items[i], where + ".processors[" + std::to_string(i) + "]")) {
        parts_.push_back(std::move(part));
      }
    }
  }
  size_t added(bool pair) const override {
    size_t count = 0;
    for (const auto& part : parts_) count += part->added(pair);
    return count;
  }
  void trims(std::vector<bool>& prefix_space) const override {
    for (const auto& part : parts_) part->trims(prefix_space);
  }
  std::vector<Encoding> process(std::vector<Encoding> encodings, bool add_special) const override {
    for (const auto& part : parts_) {
      // A template hands on its parts one by one; those that follow take one or two texts.
      if (encodings.size() > 2) {
        Encoding joined;
        for (const Encoding& encoding : encodings) append_encoding(joined, encoding);
        encodings.assign(1, joined);
      }
      encodings = part->process(std::move(encodings), add_special);
    }
    return encodings;
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> parts_;
};

}  // namespace

void append_encoding(Encoding& to, const Encoding& from) {
  to.ids.insert(to.ids.end(), from.ids.begin(), from.ids.end());
  to.type_ids.insert(to.type_ids.end(), from.type_ids.begin(), from.type_ids.end());
  to.offsets.insert(to.offsets.end(), from.offsets.begin(), from.offsets.end());
  to.special_mask.insert(to.special_mask.end(), from.special_mask.begin(), from.special_mask.end());
  to.attention_mask.insert(to.attention_mask.end(), from.attention_mask.begin(),
                           from.attention_mask.end());
}

void append_token(Encoding& to, int64_t id, int64_t type_id, std::pair<uint32_t, uint32_t> offset,
                  bool special) {
  to.ids.push_back(id);
  to.type_ids.push_back(type_id);
  to.offsets.push_back(offset);
  to.special_mask.push_back(special ? 1 : 0);
  to.attention_mask.push_back(1);
}

std::unique_ptr<PostProcessor> make_post_processor(const Json& json, const std::string& where) {
  if (json.is_null()) return nullptr;
  std::string type = json.at("type").as_string();
  if (type == "BertProcessing") return std::make_unique<ClsSep>(json, false);
  if (type == "RobertaProcessing") return std::make_unique<ClsSep>(json, true);
  if (type == "TemplateProcessing") return std::make_unique<Template>(json, where);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(json);
  if (type == "Sequence") return std::make_unique<Sequence>(json, where);
  fail(ErrorCode::kCorruptData, "tokenizer",
       "expected a post-processor that Plait has, got \"" + type + "\" at " + where);
}

}  // namespace plait::data
