#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "model/hugging_face_keys.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/json.hpp"
#include "sherd/model/hugging_face.hpp"

namespace sherd::model {
namespace {

using nlohmann::json;

constexpr std::string_view known_types = "\"gpt2\", \"llama\", \"qwen2\" or \"qwen3\"";

[[noreturn]] void refuse(const std::string& path, const std::vector<std::string>& problems) {
  std::string text = path + " is not a network sherd can train:";
  for (const std::string& problem : problems) text += "\n  " + problem;
  throw DataError(text);
}

Architecture read_as(const json& type, JsonKeys& keys) {
  if (type == "gpt2") return read_gpt2(keys);
  if (type == "llama") return read_llama(keys, LlamaKind::llama);
  if (type == "qwen2") return read_llama(keys, LlamaKind::qwen2);
  if (type == "qwen3") return read_llama(keys, LlamaKind::qwen3);
  keys.problem("model_type", type, std::string(known_types));
  return {};
}

}  // namespace

json shortest(float value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  double parsed = 0;
  std::from_chars(text.data(), end, parsed);
  return parsed;
}

Architecture read_config(const std::string& folder) {
  const io::File file(folder + "/config.json");
  const json object = io::read_json(file, {mib, 1 << 16, 16});
  if (!object.is_object()) refuse(file.path(), {"got " + shown(object) + ", need an object"});
  JsonKeys keys(object);
  const json* type = keys.find("model_type");
  if (type == nullptr)
    refuse(file.path(), {"model_type is missing, need " + std::string(known_types)});
  const Architecture architecture = read_as(*type, keys);
  if (const json* packed = keys.find("quantization_config"))
    keys.problem("quantization_config", *packed, "none: fp32, fp16 or bf16 weights");
  if (keys.problems.empty()) keys.problems = problems_of(architecture);
  if (!keys.problems.empty()) refuse(file.path(), keys.problems);
  return architecture;
}

std::string write_config(const Architecture& architecture, DType stored) {
  expects(
      stored == DType::f32 || stored == DType::bf16 || stored == DType::f16,
      "write_config: got tensors of " + std::string(name_of(stored)) + ", need fp32, bf16 or fp16");
  json keys = std::visit([](const auto& c) { return write_keys(c); }, architecture);
  // Where versions differ, the older spelling: newer ones still read it.
  keys["torch_dtype"] = stored == DType::f32    ? "float32"
                        : stored == DType::bf16 ? "bfloat16"
                                                : "float16";
  return keys.dump(2) + "\n";
}

}  // namespace sherd::model
