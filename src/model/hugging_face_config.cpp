#include <nlohmann/json.hpp>
#include <optional>

#include "sherd/base/errors.hpp"
#include "sherd/io/json.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"

namespace sherd::model {
namespace {

using nlohmann::json;

std::string shown(const json& value) { return io::printable(value.dump(-1, ' ', true)); }

/// Takes typed values out of an object and remembers what was wrong.
class Keys {
 public:
  explicit Keys(const json& object) : object_(object) {}

  [[nodiscard]] const json* find(const char* key) const {
    const auto at = object_.find(key);
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }
  std::optional<std::int64_t> count(const char* key) {
    const json* value = find(key);
    if (value == nullptr) return {};
    if (value->is_number_integer() && *value >= 1 && *value <= std::int64_t{1} << 40)
      return value->get<std::int64_t>();
    problem(key, *value, "a positive number");
    return 1;  // reported; keeps later checks quiet
  }
  std::int64_t needed(const char* key) {
    if (find(key) == nullptr) problems.push_back(std::string(key) + " is missing");
    return count(key).value_or(1);
  }
  /// A key that, where it is given, must be one of `allowed`.
  void only(const char* key, std::initializer_list<json> allowed) {
    const json* value = find(key);
    if (value == nullptr) return;
    for (const json& one : allowed)
      if (*value == one) return;
    problem(key, *value, shown(*allowed.begin()));
  }
  void problem(const char* key, const json& got, const std::string& need) {
    problems.push_back(std::string(key) + ": got " + shown(got) + ", need " + need);
  }

  std::vector<std::string> problems;

 private:
  const json& object_;
};

float norm_eps(Keys& keys) {
  const json* value = keys.find("layer_norm_epsilon");
  if (value == nullptr) return 1e-5f;
  if (value->is_number() && *value > 0.0 && *value < 1.0) {
    const auto eps = value->get<float>();
    if (eps > 0 && eps < 1) return eps;
  }
  keys.problem("layer_norm_epsilon", *value, "more than 0 and less than 1");
  return 1e-5f;
}

Gpt2Config numbers(Keys& keys) {
  Gpt2Config c;
  c.layers = keys.needed("n_layer");
  c.heads = keys.needed("n_head");
  c.width = keys.needed("n_embd");
  c.ffn_width = keys.count("n_inner").value_or(4 * c.width);
  c.vocab_size = keys.needed("vocab_size");
  const auto positions = keys.count("n_positions"), older = keys.count("n_ctx");
  if (!positions && !older) keys.problems.push_back("n_positions is missing");
  c.context = positions.value_or(older.value_or(1));
  c.eps = norm_eps(keys);
  return c;
}

[[noreturn]] void refuse(const std::string& path, const std::vector<std::string>& problems) {
  std::string text = path + " is not a network sherd can train:";
  for (const std::string& problem : problems) text += "\n  " + problem;
  throw DataError(text);
}

}  // namespace

Gpt2Config read_gpt2_config(const std::string& folder) {
  const io::File file(folder + "/config.json");
  const json object = io::read_json(file, {mib, 1 << 16, 16});
  if (!object.is_object()) refuse(file.path(), {"got " + shown(object) + ", need an object"});
  Keys keys(object);
  const json* type = keys.find("model_type");
  if (type == nullptr) refuse(file.path(), {"model_type is missing; sherd reads gpt2"});
  if (*type != "gpt2") refuse(file.path(), {"model_type: got " + shown(*type) + ", need \"gpt2\""});
  Gpt2Config config = numbers(keys);
  keys.only("activation_function", {"gelu_new", "gelu_pytorch_tanh"});
  keys.only("tie_word_embeddings", {true});
  keys.only("scale_attn_weights", {true});
  keys.only("scale_attn_by_inverse_layer_idx", {false});
  keys.only("add_cross_attention", {false});
  if (keys.problems.empty()) keys.problems = problems_of(config);
  if (!keys.problems.empty()) refuse(file.path(), keys.problems);
  return config;
}

}  // namespace sherd::model
