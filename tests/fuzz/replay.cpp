// replay FOLDER: gives a target each file of the folder, its seeds, and some thousand changes of
// them, always the same. The part of fuzzing that every build can do.
#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "fuzz/target.hpp"

namespace {

namespace fs = std::filesystem;
using sherd::fuzz::Random;

constexpr std::size_t seeds = 32, chains = 250, links = 8;

void change_bytes(std::string& text, Random& random) {
  const std::size_t at = random.below(text.size() + 1);
  switch (random.below(4)) {
    case 0:
      text.insert(at, 1 + random.below(4), static_cast<char>(random.below(256)));
      break;
    case 1:
      text.erase(at, 1 + random.below(8));
      break;
    case 2:
      text.insert(at, text.substr(random.below(text.size() + 1), random.below(16)));
      break;
    default:
      if (at < text.size()) text[at] = static_cast<char>(random.below(256));
  }
}

std::size_t replay_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  if (fs::is_directory(folder))
    for (const fs::directory_entry& one : fs::directory_iterator(folder))
      files.push_back(one.path());
  std::ranges::sort(files);
  for (const fs::path& path : files) {
    std::ifstream file(path, std::ios::binary);
    std::printf(
        "%s: %s\n", path.filename().c_str(),
        sherd::fuzz::accepts({std::istreambuf_iterator<char>(file), {}}) ? "accepted" : "refused");
  }
  return files.size();
}

int replay(const fs::path& folder) {
  const std::size_t files = replay_folder(folder);
  Random random(1);
  for (std::size_t i = 0; i < seeds; ++i)
    sherd::fuzz::promised(sherd::fuzz::accepts(sherd::fuzz::seed(random)), "a seed is accepted");
  std::size_t accepted = 0;
  for (std::size_t i = 0; i < chains; ++i) {
    std::string input = sherd::fuzz::seed(random);
    for (std::size_t k = 0; k < links; ++k) {
      input = sherd::fuzz::changed(input, random,
                                   [&](std::string& text) { change_bytes(text, random); });
      accepted += sherd::fuzz::accepts(input) ? 1U : 0U;
    }
  }
  std::printf("files %zu, changed inputs %zu, accepted %zu\n", files, chains * links, accepted);
  return accepted > 0 && accepted < chains * links ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "replay: need the folder of the target's corpus\n");
    return 2;
  }
  try {
    return replay(arguments[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "replay: %s\n", error.what());
    return 1;
  }
}
