"""The groups of Tiny ImageNet's classes, by WordNet id.

A class belongs to the first group one of whose synsets is among its hypernyms, at any distance (`HYPERNYMS`, in this
order), in WordNet 3.0 (Miller 1995, doi.org/10.1145/219717.219748), whose noun offsets the ids are. `MEMBERS` is what
comes out; with Debian's package wordnet-base installed, a test (tests/reporting/test_groups.py) derives it anew.
"""

HYPERNYMS = {
    "dogs and cats": "n02084071 n02120997",  # dog, feline
    "other mammals": "n01861778",  # mammal
    "birds": "n01503061",  # bird
    "fish, amphibians, reptiles": "n02512053 n01627424 n01661091",  # fish, amphibian, reptile
    "insects": "n02159955",  # insect
    "other invertebrates": "n01905661",  # invertebrate
    "food and fruit": "n00021265 n07555863 n13134947",  # food as nourishment, food as a solid, fruit
    "vehicles": "n03100490",  # conveyance
    "clothing": "n03051540 n03380867",  # clothing, footwear
    "buildings and structures": "n04341686",  # structure
    "containers": "n03094503",  # container
    "tools": "n03563967",  # implement
    "equipment": "n03294048",  # equipment, mostly of sports and electronic
    "devices": "n03183080",  # device
    "landscapes": "n09287968",  # geological formation
    "other things": "n00001740",  # entity
}

MEMBERS = {
    "dogs and cats": (
        "n02085620 n02094433 n02099601 n02099712 n02106662 n02113799 n02123045 n02123394 n02124075 n02125311 n02129165"
    ),
    "other mammals": (
        "n01882714 n02074367 n02132136 n02364673 n02395406 n02403003 n02410509 n02415577 n02423022 n02437312 "
        "n02480495 n02481823 n02486410 n02504458 n02509815"
    ),
    "birds": "n01855672 n02002724 n02056570 n02058221",
    "fish, amphibians, reptiles": "n01443537 n01629819 n01641577 n01644900 n01698640 n01742172",
    "insects": "n02165456 n02190166 n02206856 n02226429 n02231487 n02233338 n02236044 n02268443 n02279972 n02281406",
    "other invertebrates": (
        "n01768244 n01770393 n01774384 n01774750 n01784675 n01910747 n01917289 n01944390 n01945685 n01950731 "
        "n01983481 n01984695 n02321529"
    ),
    "food and fruit": (
        "n07579787 n07583066 n07614500 n07615774 n07695742 n07711569 n07715103 n07720875 n07734744 n07747607 "
        "n07749582 n07753592 n07768694 n07871810 n07873807 n07875152 n07920052 n12267677"
    ),
    "vehicles": (
        "n02814533 n02917067 n03100240 n03393912 n03444034 n03447447 n03599486 n03662601 n03670208 n03796401 "
        "n03977966 n04146614 n04285008 n04465501 n04487081"
    ),
    "clothing": (
        "n02669723 n02730930 n02837789 n02883205 n02963159 n03026506 n03404251 n03617480 n03763968 n03770439 "
        "n03980874 n04133789 n04254777 n04259630 n04371430 n04532106"
    ),
    "buildings and structures": (
        "n02699494 n02788148 n02791270 n02793495 n02814860 n02892201 n02927161 n03042490 n03089624 n03160309 "
        "n03388043 n03837869 n03930313 n04149813 n04311004 n04366367 n04486054 n04501370 n04532670"
    ),
    "containers": (
        "n02769748 n02795169 n02808440 n02815834 n02823428 n02909870 n03014705 n03937543 n03983396 n04398044 "
        "n04560804 n04562935 n04597913"
    ),
    "tools": "n02906734 n03250847 n03355925 n03400231 n03649909 n03970156 n03976657 n04596742",
    "equipment": "n02802426 n02988304 n03085013 n03255030 n03584254 n03902125 n04023962 n04118538 n04540053",
    "devices": (
        "n02666196 n02841315 n02948072 n02950826 n02977058 n03126707 n03544143 n03706229 n03733131 n03804744 "
        "n03814639 n03838899 n03854065 n03891332 n03992509 n04008634 n04067472 n04074963 n04179913 n04251144 "
        "n04265275 n04275548 n04328186 n04356056 n04376876 n04456115"
    ),
    "landscapes": "n09193705 n09246464 n09256479 n09332890 n09428293",
    "other things": (
        "n02843684 n02999410 n03179701 n03201208 n03424325 n03637318 n04070727 n04099969 n04399382 n04417672 "
        "n04507155 n06596364"
    ),
}

GROUP_OF = {wnid: group for group, members in MEMBERS.items() for wnid in members.split()}
