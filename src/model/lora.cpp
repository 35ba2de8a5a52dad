#include "sherd/model/lora.hpp"

#include <algorithm>

namespace sherd::model {

bool LoraConfig::at(std::string_view site) const {
  const auto found = std::ranges::find(lora_sites, site);
  return on() && found != lora_sites.end() && (sites >> (found - lora_sites.begin()) & 1U) != 0;
}

std::vector<std::string> names_of(const LoraConfig& config) {
  std::vector<std::string> names;
  for (const std::string_view site : lora_sites) {
    if (config.at(site)) names.emplace_back(site);
  }
  return names;
}

std::optional<std::uint32_t> sites_of(const std::vector<std::string>& names) {
  std::uint32_t sites = 0;
  for (const std::string& name : names) {
    const auto found = std::ranges::find(lora_sites, name);
    if (found == lora_sites.end()) return {};
    sites |= 1U << (found - lora_sites.begin());
  }
  return sites;
}

bool is_adapter(std::string_view param) {
  return param.ends_with(".lora_a") || param.ends_with(".lora_b");
}

}  // namespace sherd::model
