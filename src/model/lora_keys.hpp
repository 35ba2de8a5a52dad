#pragma once
// Products with an adapter, out of a JSON object that may hold anything.
#include "model/json_keys.hpp"
#include "sherd/model/lora.hpp"

namespace sherd::model {

/// The sites that the array `key` names; 0, and a problem, where it names none or another thing.
inline std::uint32_t take_sites(JsonKeys& keys, const char* key) {
  using nlohmann::json;
  const json* targets = keys.find(key);
  std::vector<std::string> names;
  for (const json& target : targets != nullptr && targets->is_array() ? *targets : json::array())
    names.push_back(target.is_string() ? target.get<std::string>() : "");
  const std::uint32_t sites = sites_of(names).value_or(0);
  if (sites == 0)
    keys.problem(key, targets == nullptr ? json() : *targets,
                 "names of products: \"q_proj\", \"c_attn\", ...");
  return sites;
}

}  // namespace sherd::model
