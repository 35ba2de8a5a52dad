// The file of `--config`.
#include "fuzz/json_change.hpp"
#include "sherd/cli/config_json.hpp"

namespace sherd::fuzz {

bool accepts(const std::string& input) {
  launch::RunConfig config;
  const std::vector<std::string> problems = cli::read_json(input, "run.json", config);
  for (const std::string& problem : problems)
    promised(problem.starts_with("run.json: "), "every problem names the file");
  if (!problems.empty()) return false;
  const std::string text = cli::to_json(config);
  launch::RunConfig again;
  promised(cli::read_json(text, "run.json", again).empty(), "what is written can be read");
  promised(cli::to_json(again) == text, "and is the same configuration");
  return true;
}

std::string seed(Random& random) {
  Tree all = Tree::parse(cli::to_json(launch::RunConfig{}));
  for (std::size_t n = random.below(all.size()); n > 0; --n) {
    auto member = all.begin();
    std::advance(member, random.below(all.size()));
    all.erase(member);
  }
  return all.dump();
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  return changed_json(input, random, change);
}

}  // namespace sherd::fuzz
