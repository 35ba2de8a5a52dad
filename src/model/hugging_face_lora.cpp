// adapter_config.json of PEFT, both ways.
#include <nlohmann/json.hpp>

#include "model/hugging_face_keys.hpp"
#include "model/lora_keys.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/io/json.hpp"
#include "sherd/model/hugging_face.hpp"

namespace sherd::model {
namespace {

using nlohmann::json;

// Adapters of other kinds have the same file and other tensors, are computed otherwise, or start
// from a network whose weights they changed ("pissa", "olora", ...).
void refuse_other_kinds(JsonKeys& keys) {
  keys.only("peft_type", {"LORA"});
  keys.only("bias", {"none"});
  keys.only("init_lora_weights", {true, false, "gaussian", "orthogonal", "eva"});
  for (const char* key : {"use_dora", "use_rslora", "use_qalora", "use_bdlora", "lora_bias"})
    keys.only(key, {false});
  for (const char* key : {"rank_pattern", "alpha_pattern", "loftq_config"})
    keys.only(key, {json::object()});
  for (const char* key :
       {"modules_to_save", "layers_to_transform", "layer_replication", "target_parameters",
        "trainable_token_indices", "exclude_modules", "alora_invocation_tokens", "arrow_config",
        "kasa_config", "monteclora_config", "velora_config", "corda_config", "lora_ga_config"}) {
    if (const json* value = keys.find(key)) keys.problem(key, *value, "null");
  }
}

}  // namespace

LoraConfig read_adapter_config(const std::string& folder) {
  const io::File file(folder + "/adapter_config.json");
  const json object = io::read_json(file, {mib, 1 << 16, 16});
  const auto refuse = [&](const std::vector<std::string>& problems) {
    std::string text = file.path() + " is of no adapters sherd can train:";
    for (const std::string& problem : problems) text += "\n  " + problem;
    throw DataError(text);
  };
  if (!object.is_object()) refuse({"got " + shown(object) + ", need an object"});
  JsonKeys keys(object);
  LoraConfig lora;
  lora.rank = keys.needed("r");
  if (lora.rank > most_lora_rank)
    keys.problem("r", json(lora.rank), "at most " + std::to_string(most_lora_rank));
  lora.alpha = static_cast<float>(keys.needed_number("lora_alpha"));
  if (!(lora.alpha > 0)) keys.problem("lora_alpha", json(0), "more than fp32 rounds to 0");
  lora.sites = take_sites(keys, "target_modules");
  refuse_other_kinds(keys);
  if (!keys.problems.empty()) refuse(keys.problems);
  return lora;
}

std::string write_adapter_config(const Architecture& architecture) {
  const LoraConfig lora = std::visit([](const auto& c) { return c.lora; }, architecture);
  const json keys{{"peft_type", "LORA"},
                  {"task_type", "CAUSAL_LM"},
                  {"r", lora.rank},
                  {"lora_alpha", shortest(lora.alpha)},
                  {"target_modules", names_of(lora)},
                  {"lora_dropout", 0.0},
                  {"bias", "none"},
                  {"fan_in_fan_out", std::holds_alternative<Gpt2Config>(architecture)},
                  {"inference_mode", true},
                  {"base_model_name_or_path", nullptr}};
  return keys.dump(2) + "\n";
}

}  // namespace sherd::model
