#include <algorithm>
#include <array>
#include <map>

#include "model/folder_weights.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/tensor_folder.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/tensor_map.hpp"

namespace sherd::model {
namespace {

/// Left over from older versions: constants that are computed.
constexpr std::array<std::string_view, 3> constants{".attn.bias", ".attn.masked_bias",
                                                    ".rotary_emb.inv_freq"};

/// What a used layer has and the network has no use for, such as biases: it would compute something
/// else without a word.
std::vector<std::string> strangers(const FolderWeights& weights, const Architecture& architecture) {
  const bool gpt2 = std::holds_alternative<Gpt2Config>(architecture);
  const std::int64_t layers = std::visit([](const auto& c) { return c.layers; }, architecture);
  std::vector<std::string> problems;
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string start = (gpt2 ? "h." : "layers.") + std::to_string(i) + ".";
    for (const std::string& name : weights.unused(start, body_prefix(architecture)))
      if (std::ranges::none_of(constants,
                               [&](std::string_view end) { return name.ends_with(end); }))
        problems.push_back(name + ": the network has no such tensor");
  }
  return problems;
}

/// The adapters of a folder, before what the network has without them.
std::unique_ptr<Weights> with_adapters(const ModelConfig& config, const ModelSpec& spec,
                                       std::unique_ptr<Weights> base) {
  auto weights =
      std::make_unique<FolderWeights>(config.lora_from, std::move(base), "adapter_model");
  std::string problems;
  for (FolderTensor& tensor : adapter_map(resolve(config))) {
    const auto param = std::ranges::find(spec.params, tensor.param, &ParamSpec::name);
    expects(param != spec.params.end(), "open_weights: got a network without its adapters");
    for (const std::string& problem : weights->bind(*param, {std::move(tensor)}, ""))
      problems += "\n  " + problem;
  }
  if (problems.empty()) {  // else those that do not fit would be named twice
    for (const std::string& name : weights->unused("", ""))  // would be lost without a word
      problems += "\n  " + name + ": the network has no such tensor";
  }
  if (!problems.empty())
    throw DataError("the adapters in " + config.lora_from + " do not fit the network:" + problems);
  return weights;
}

std::unique_ptr<Weights> open_base(const ModelConfig& config, const ModelSpec& spec) {
  if (!names_folder(config) ||
      (config.random_init && !io::TensorFolder::holds_weights(config.model)))
    return random_weights(config.seed);
  if (!io::TensorFolder::holds_weights(config.model))
    throw DataError(config.model +
                    " holds no model.safetensors; --random-init starts from random weights");
  const Architecture architecture = resolve(config);
  std::map<std::string, std::vector<FolderTensor>> pieces;
  for (FolderTensor& tensor : tensor_map(architecture))
    pieces[tensor.param].push_back(std::move(tensor));
  auto weights = std::make_unique<FolderWeights>(config.model, random_weights(config.seed));
  std::vector<std::string> problems;
  for (const ParamSpec& param : spec.params) {
    if (is_adapter(param.name)) continue;  // starts at random
    expects(pieces.contains(param.name),
            "open_weights: got " + param.name + ", need a parameter of the folder's network");
    const auto found = weights->bind(param, pieces[param.name], body_prefix(architecture));
    problems.insert(problems.end(), found.begin(), found.end());
  }
  if (config.random_init) return weights;
  if (problems.empty()) problems = strangers(*weights, architecture);
  if (problems.empty()) return weights;
  std::string text = "the weights in " + config.model + " do not fit the network:";
  for (const std::string& problem : problems) text += "\n  " + problem;
  throw DataError(text);
}

}  // namespace

std::unique_ptr<Weights> open_weights(const ModelConfig& config, const ModelSpec& spec) {
  std::unique_ptr<Weights> base = open_base(config, spec);
  return config.lora_from.empty() ? std::move(base) : with_adapters(config, spec, std::move(base));
}

}  // namespace sherd::model
